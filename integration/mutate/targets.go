package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// target is a package whose code is changed.
type target struct {
	dir   string   // below the root
	files []string // that have mutants
	tests []suite  // that are to notice what the simulator does not

	// left are the other files, by why they have no mutants: they decide nothing that
	// could make a node give an old value.
	left map[string]string
}

// suite is a package with tests.
type suite struct {
	module string // directory of it, below the root
	pkg    string
	run    string // which tests; all if empty
}

// targets are all of them.
var targets = []target{
	{
		dir:   "nearcache",
		files: words("bounds call close codec invalidate lease lifetimes load many read refresh source stale token touch warm write"),
		tests: []suite{{pkg: "./nearcache"}},
		left: map[string]string{
			"cache doc errors node open options":              "they put things together, check options, or translate",
			"health inspect inspection metrics observe stats": "they tell, and decide nothing",
			"base":                   "it counts, logs and limits",
			"entry nearbytes weight": "costs",
		},
	},
	{
		dir: "nearcache/internal/coherence",
		files: words(`arrive barrier batch clock confirm directory drain floor follow gather keyspace lease leases leave observed pending
			proof refresh silence sweep tag tagread token touch write`),
		tests: []suite{{pkg: "./nearcache/internal/coherence"}, {pkg: "./nearcache"}},
		left: map[string]string{
			"doc errors node": "they put things together",
			"census counters heard meter outages peers settings sight stored telemetry trust verdict": "they tell, and decide nothing",
			"text": "a goroutine",
		},
	},
	{
		dir:   "nearcache/internal/generation",
		files: words("acked clear heads heard number slot slots tags"),
		tests: []suite{{pkg: "./nearcache/internal/generation"}, {pkg: "./nearcache"}},
		left:  map[string]string{"doc": "it says what the package is"},
	},
	{
		dir:   "nearcache/internal/journal",
		files: words("follower pages questions round rounds state unheard"),
		tests: []suite{{pkg: "./nearcache/internal/journal"}, {pkg: "./nearcache"}},
		left:  map[string]string{"breach doc": "they tell, and decide nothing", "pace": "it decides when the journal is read"},
	},
	{
		dir:   "nearcache/internal/lag",
		files: words("lag"),
		tests: []suite{{pkg: "./nearcache/internal/lag"}, {pkg: "./nearcache", run: "SourceLag|SinceInvalidated"}},
	},
	{
		dir:  "nearcache/internal/outage",
		left: map[string]string{"outage": "it tells, and decides nothing"},
	},
	{
		dir:  "nearcache/internal/pause",
		left: map[string]string{"pause": "pauses"},
	},
	{
		dir:   "nearcache/internal/pending",
		files: words("queue retry"),
		tests: []suite{{pkg: "./nearcache/internal/pending"}, {pkg: "./nearcache"}},
		left:  map[string]string{"doc": "it says what the package is"},
	},
	{
		dir:   "nearcache/internal/near",
		files: words("approach clock entry extra invalidate leave partition refresh stripe tags tier trust"),
		tests: []suite{{pkg: "./nearcache/internal/near"}, {pkg: "./nearcache"}},
		left: map[string]string{
			"bound evict ghosts janitor order policy sample tables": "they decide what is kept, not what is given",
			"hottest peek": "they tell, and decide nothing",
		},
	},
	{
		dir: "shared/redisstore",
		files: []string{
			"acquire.go", "acquire.lua", "acquirecall.lua", "acquiremany.lua", "acquireone.lua", "call.go", "journal.go", "read.go", "rollback.lua", "run.go",
			"stage.go", "step.go", "sweep.go", "tail.lua", "touch.go", "touch.lua", "write.go", "write.lua", "writecall.lua", "writemany.lua", "writeone.lua",
		},
		tests: []suite{{pkg: "./shared/redisstore"}, {module: "integration", pkg: ".", run: "^Test(RedisStore|RedisBatch|RedisJournal|RedisWrite|Store_Redis$|G4_APrimary)"}},
		left: map[string]string{
			"client cluster pipeline redisstore ring script": "they put things together",
			"batch combine pace":                             "which operations share a request: a matter of speed",
			"errors":                                         "it translates",
		},
	},
	{
		dir:   "bus",
		files: words("barrier peers subscription watchdog"),
		tests: []suite{{pkg: "./bus"}},
		left: map[string]string{
			"about doc errors message namespace options settings stats transport": "they describe",
			"pace rollcall silence":       "they tell, and decide nothing",
			"bus outbox sender":           "they send; what is sent too late, or not, is what the simulator's network does",
			"extension garbage text wire": "they translate, and have fuzz targets",
		},
	},
}

// words returns the files of Go with these names.
func words(names string) (files []string) {
	for name := range strings.FieldsSeq(names) {
		files = append(files, name+".go")
	}
	return files
}

// leftOutFunc reports whether a function has no mutants: it describes, or checks options.
func leftOutFunc(name string) bool {
	_, method, _ := strings.Cut(name, ".")
	return slices.Contains([]string{"String", "Error", "Unwrap", "Is", "validate", "validateStale", "warn"}, method)
}

// quietCalls are statements that only count, log or lock. A lock that is not taken is for
// the race detector, and one that is not given back stops everything.
var quietCalls = regexp.MustCompile(`^(defer )?[\w.]+(\.(R?Lock|R?Unlock)\(\)|Logger\.\w+\((.|\n)*\)|` +
	`\.(absentHits|announced|evicted|fenced|gaps|heartbeats|hits|holes|ignoredText|invalidated|loads|loadErrors|malformed|misses|newer|own|` +
	`panics|received|receivedKeys|refreshes|roundTrip|silences|skipped|stale|text|tooLarge|unconfirmed|unproven)\.(Add|Store|add)\(.*\))$`)

// mutantsOf returns the mutants of one file.
func mutantsOf(root, file string) ([]mutant, error) {
	source, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return nil, err
	}
	var edits []edit
	if filepath.Ext(file) == ".lua" {
		edits = luaEdits(source)
	} else if edits, err = goEdits(source); err != nil {
		return nil, err
	}
	return named(file, source, edits), nil
}

// allMutants returns the mutants of all files.
func allMutants(root string) (all []mutant, err error) {
	for i := range targets {
		for _, name := range targets[i].files {
			some, err := mutantsOf(root, targets[i].dir+"/"+name)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
	}
	return numbered(all), nil
}

// suitesOf returns the tests of the package that a file is of.
func suitesOf(file string) []suite {
	for i := range targets {
		if targets[i].dir == filepath.Dir(file) {
			return targets[i].tests
		}
	}
	return nil
}

// dirsOf returns the directories of the packages that mutants are in.
func dirsOf(all []mutant) (dirs []string) {
	for i := range all {
		if dir := filepath.Dir(all[i].File); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
