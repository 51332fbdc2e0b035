package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"go/ast"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// All mutants of a package are in one program, which takes the number of one from the
// environment when it starts: a < b becomes mutantLess(7, a, b), and a statement
// becomes if mutant != 7 { ... }. What they call is in support.go.txt.

// piece is what stands around some bytes of a source file, or in their place, in a program
// with all mutants. In its texts # is the number of the mutant, and $ the type of the bytes.
type piece struct {
	start, end    int
	before, after string
	gone          bool // the bytes are left out
	parts         bool // what it stands around is no expression any more: other pieces stand around it
}

// numberName is the variable of the environment with the number of a mutant.
const numberName = "MUTANT"

//go:embed support.go.txt
var support string

// numbered gives mutants their numbers.
func numbered(all []mutant) []mutant {
	for i := range all {
		all[i].number = i + 1
	}
	return all
}

// schemata returns what stands in the place of files when all mutants are in the program.
func schemata(l *library, all []mutant) (map[string][]byte, error) {
	files := make(map[string][]*mutant)
	for i := range all {
		if m := &all[i]; m.shares() {
			files[m.File] = append(files[m.File], m)
		}
	}
	replace := make(map[string][]byte)
	for _, dir := range dirsOf(all) {
		p := l.packages[dir]
		if p == nil {
			return nil, fmt.Errorf("%s is no package that was loaded", dir)
		}
		var declared strings.Builder
		for name, source := range p.sources {
			pieces, imports := numberedPieces(p, name, files[filepath.Join(dir, name)])
			pieces = append(pieces, scriptPieces(source, &declared)...)
			if len(pieces) == 0 {
				continue
			}
			pieces = append(pieces, p.endings(name)...)
			at := p.offset(name, p.files[name].Name.End())
			pieces = append(pieces, piece{start: at - len(p.name), end: at, after: imports})
			replace[filepath.Join(dir, name)] = weave(source, pieces)
		}
		replace[filepath.Join(dir, "mutants.go")] = []byte(strings.NewReplacer(
			"package support", "package "+p.name, "MUTANT", numberName, "\t// scripts\n", scripts(dir, all), "// declared\n", declared.String(),
		).Replace(support))
	}
	return replace, nil
}

// scriptPieces rename the variables of a file with scripts. In their place variables are
// declared that have the script of the mutant.
func scriptPieces(source []byte, declared *strings.Builder) (all []piece) {
	for _, e := range embedded.FindAllSubmatchIndex(source, -1) {
		script, variable := string(source[e[2]:e[3]]), string(source[e[4]:e[5]])
		all = append(all, piece{start: e[4], end: e[5], after: "Whole"})
		fmt.Fprintf(declared, "var %s = mutantScript(%q, %[1]sWhole)\n", variable, script)
	}
	return all
}

// scripts returns the mutants of the scripts in a directory, as elements of mutantScripts.
func scripts(dir string, all []mutant) string {
	var text strings.Builder
	for i := range all {
		if m := &all[i]; filepath.Dir(m.File) == dir && filepath.Ext(m.File) == ".lua" {
			fmt.Fprintf(&text, "\t%d: {%q, %d, %d, %q},\n", m.number, filepath.Base(m.File), m.start, m.end, m.with)
		}
	}
	return text.String()
}

// shares reports whether a mutant is in the program with all of them, as the code as it is.
func (m *mutant) shares() bool {
	return m.number == 0 || len(m.pieces) > 0 || filepath.Ext(m.File) == ".lua"
}

// endings end the functions of a file that return something, so that one without a return
// compiles.
func (p *loaded) endings(name string) (all []piece) {
	ast.Inspect(p.files[name], func(n ast.Node) bool {
		var of *ast.FuncType
		var body *ast.BlockStmt
		switch n := n.(type) {
		case *ast.FuncDecl:
			of, body = n.Type, n.Body
		case *ast.FuncLit:
			of, body = n.Type, n.Body
		}
		if body != nil && of.Results != nil {
			if _, ok := body.List[len(body.List)-1].(*ast.ReturnStmt); !ok {
				at := p.offset(name, body.Rbrace)
				all = append(all, piece{start: at, end: at + 1, before: `; panic("no return") `})
			}
		}
		return true
	})
	return all
}

// embedded is a variable with a script.
var embedded = regexp.MustCompile(`//go:embed (\S+\.lua)\n\s*(?:var )?(\w+) string\n`)

// numberedPieces returns the pieces of the mutants of a file, and what it has to import for
// the types in them.
func numberedPieces(p *loaded, name string, of []*mutant) (all []piece, imports string) {
	used := make(map[string]bool)
	for _, m := range of {
		number := strconv.Itoa(m.number)
		for _, e := range m.pieces {
			with := strings.NewReplacer("#", number, "$", p.typeAt(name, e.start, used))
			e.before, e.after = with.Replace(e.before), with.Replace(e.after)
			all = append(all, e)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(used)) {
		imports += fmt.Sprintf("; import %s %q", alias(path), path)
	}
	return all, imports
}

// weave puts pieces into a source file. They are nested or apart.
func weave(source []byte, pieces []piece) []byte {
	slices.SortStableFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end), compareBools(a.parts, b.parts))
	})
	var out bytes.Buffer
	var open []piece
	at := 0
	shut := func(until int) {
		for len(open) > 0 && open[len(open)-1].end <= until {
			last := open[len(open)-1]
			open = open[:len(open)-1]
			out.Write(source[at:last.end])
			out.WriteString(last.after)
			at = last.end
		}
	}
	for _, p := range pieces {
		shut(p.start)
		out.Write(source[at:p.start])
		out.WriteString(p.before)
		at = p.start
		if p.gone {
			at = p.end
		}
		open = append(open, p)
	}
	shut(len(source))
	out.Write(source[at:])
	return out.Bytes()
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
