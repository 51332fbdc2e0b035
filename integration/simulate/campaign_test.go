package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// report is what a child process says of a seed, as a line of JSON.
type report struct {
	Seed  uint64
	Tally *Tally `json:",omitempty"` // nil: a run of it begins
	Text  string `json:",omitempty"` // how it broke a promise
}

// campaign runs one seed after the other in child processes, one for each processor. A
// deadlock or a panic in a bubble ends its process: then the campaign tells of the
// seed, and another process goes on with the next one.
type campaign struct {
	first, every uint64
	last         uint64 // seed
	until        time.Time
	args         []string // of every child
	out          io.Writer

	mu     sync.Mutex // protects the fields below and out
	tally  *Tally
	failed []uint64 // seeds
}

// most is with how many failures a campaign ends before its time.
func (c *campaign) most() int {
	if *firstFlag {
		return 1
	}
	return mostFailures
}

const mostFailures = 20

// longestRun is how long one run may take before it counts as one that hangs.
const longestRun = 10 * time.Minute

func (c *campaign) run() error {
	var workers sync.WaitGroup
	errs := make([]error, c.every)
	for i := range c.every {
		workers.Go(func() { errs[i] = c.worker(c.first + i) })
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// worker runs every seed of its share, from one on.
func (c *campaign) worker(seed uint64) error {
	for seed <= c.last && time.Now().Before(c.until) && !c.isOver() {
		last, err := c.child(seed)
		if err != nil {
			return err
		}
		seed = last + c.every
	}
	return nil
}

func (c *campaign) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.failed) >= c.most()
}

// child runs seeds in one process for as long as it lives, and returns the last one.
func (c *campaign) child(seed uint64) (last uint64, err error) {
	said, err := os.CreateTemp("", "simulate-*.log")
	if err != nil {
		return seed, err
	}
	defer said.Close()
	pipe, write, err := os.Pipe()
	if err != nil {
		return seed, err
	}
	defer pipe.Close()
	args := append([]string{
		"-test.run=^TestSimulate$", "-test.timeout=0", "-reports", "-shapes=" + strconv.FormatBool(*shapesFlag), "-first=" + strconv.FormatBool(*firstFlag), "-nodes=" + strconv.Itoa(*nodesFlag), "-fault=" + *faultFlag,
		"-seed=" + strconv.FormatUint(seed, 10), "-every=" + strconv.FormatUint(c.every, 10), "-last=" + strconv.FormatUint(c.last, 10), "-for=" + time.Until(c.until).String(),
	}, c.args...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = said, said, []*os.File{write}
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // little of a fleet is ready at a time
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return seed, err
	}
	last, ended := c.hear(pipe, cmd.Process, seed)
	if c.isOver() {
		cancel()
	}
	err = cmd.Wait()
	if !ended && ctx.Err() == nil && err != nil {
		return last, c.died(last, err, said)
	}
	return last, os.Remove(said.Name())
}

// hear reads the reports of a child until it ends. ended says that no run was under way
// then.
func (c *campaign) hear(pipe io.Reader, child *os.Process, seed uint64) (last uint64, ended bool) {
	last = seed
	hangs := time.AfterFunc(longestRun, func() { _ = child.Signal(syscall.SIGQUIT) })
	defer hangs.Stop()
	for reports := json.NewDecoder(pipe); ; {
		var r report
		if reports.Decode(&r) != nil {
			return last, ended
		}
		hangs.Reset(longestRun)
		last, ended = r.Seed, r.Tally != nil || r.Text != ""
		c.take(&r)
		if c.isOver() {
			return last, true
		}
	}
}

func (c *campaign) take(r *report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Tally != nil {
		c.tally.Merge(r.Tally)
	}
	if r.Text != "" {
		c.failed = append(c.failed, r.Seed)
		fmt.Fprint(c.out, r.Text)
	}
}

// died tells of a seed whose process died, and of where its output is.
func (c *campaign) died(seed uint64, why error, said *os.File) error {
	text, err := os.ReadFile(said.Name())
	if err != nil {
		return err
	}
	if i := max(bytes.Index(text, []byte("panic: ")), bytes.Index(text, []byte("fatal error: ")), 0); i > 0 {
		text = text[i:]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, seed)
	fmt.Fprintf(c.out, "seed %d ends its process: %v. Repeat with %s\n%s\nall that it said is in %s\n",
		seed, why, repeat(seed), firstLines(text, 30), said.Name())
	return nil
}

func firstLines(text []byte, n int) []byte {
	lines := bytes.SplitAfterN(text, []byte("\n"), n+1)
	return bytes.Join(lines[:min(n, len(lines))], nil)
}

// work is what a child does: it runs its seeds and reports on the pipe that it was given.
func work(t *testing.T) {
	t.Helper()
	reports := json.NewEncoder(os.NewFile(3, "reports"))
	send := func(r report) {
		if err := reports.Encode(r); err != nil {
			t.Fatal(err) // nobody listens any more
		}
	}
	began := time.Now()
	for seed := *seedFlag; time.Since(began) < *forFlag && seed <= *lastFlag; seed += *everyFlag {
		run := Runner(func(p *Plan) *Result {
			send(report{Seed: seed})
			return simulate(t, p)
		})
		r := run(draw(seed))
		tally := NewTally()
		tally.Add(r)
		send(report{Seed: seed, Tally: tally})
		if len(r.Violations) > 0 {
			send(report{Seed: seed, Text: told(t, run, r)})
		}
	}
}

// told tells how a run broke a promise; nothing if that is not to be told.
func told(t *testing.T, run Runner, r *Result) string {
	t.Helper()
	if *firstFlag {
		return again(run, r)
	}
	var text bytes.Buffer
	shrunk(t, &text, run, r)
	return text.String()
}

// TestCampaign_GoesOn: a bubble that deadlocks ends its process and not the campaign,
// which tells the seed.
func TestCampaign_GoesOn(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	c := &campaign{
		first: 1, every: 1, last: 3, until: time.Now().Add(time.Hour), out: &out, tally: NewTally(),
		args: []string{"-deadlock=2", "-nodes=2"},
	}
	require.NoError(t, c.run())
	assert.Equal(t, []uint64{2}, c.failed)
	assert.Equal(t, 2, c.tally.Runs)
	assert.Contains(t, out.String(), "seed 2 ends its process")
	assert.Contains(t, out.String(), "deadlock")
}
