package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/nearbus/nearbus/integration/history"
)

// nodeVariable is set for processes that are nodes; it holds their settings.
const nodeVariable = "NEARBUS_CHECKER_NODE"

const (
	readers     = 2
	writers     = 2
	callTimeout = 10 * time.Second
	openShare   = 4 // one key in so many is written by every node
)

// node is one process of a run.
type node struct {
	settings settings
	subject  subject
	source   *source
	journal  *journal
	work     sync.WaitGroup
	stop     context.CancelFunc
	death    death
}

// runNode is the whole life of a process: it works until it is told to rest,
// and ends with its input.
func runNode(encoded string, in io.Reader, out io.Writer) error {
	logging.Disable() // go-redis would tell of every fault
	n := &node{}
	if err := json.Unmarshal([]byte(encoded), &n.settings); err != nil {
		return fmt.Errorf("checker: settings: %w", err)
	}
	var err error
	if n.source, err = openSource(n.settings.Source, n.settings.Keys); err != nil {
		return err
	}
	file, err := os.Create(n.settings.Journal)
	if err != nil {
		return err
	}
	n.journal = &journal{file: file}
	if n.subject, err = openSubject(n.settings, &n.death); err != nil {
		return err
	}
	defer n.subject.close()
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	for i := range readers {
		n.work.Go(func() { n.read(ctx, i) })
	}
	for i := range writers {
		n.work.Go(func() { n.write(ctx, i) })
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := n.obey(lines.Text(), out); err != nil {
			return err
		}
	}
	stop()
	n.work.Wait()
	return nil
}

// obey does what the run asks for and answers with one line.
func (n *node) obey(command string, out io.Writer) error {
	verb, argument, _ := strings.Cut(command, " ")
	var answer any = "done"
	switch verb {
	case "hello":
	case "rest": // finish what is under way
		n.stop()
		n.work.Wait()
	case "look": // read everything
		n.look()
	case "report":
		answer = n.subject.report()
	case "vitals":
		answer = ownVitals()
	case "harm", "spare":
		if o, ok := n.subject.(*ours); ok && o.faults != nil {
			o.faults.harming.Store(verb == "harm")
		}
	case "die":
		n.death.step.Store(&argument)
	case "block":
		d, err := time.ParseDuration(argument)
		if err != nil {
			return err
		}
		if o, ok := n.subject.(*ours); ok && o.faults != nil {
			o.faults.blocked.Store(int64(d))
		}
	default:
		return fmt.Errorf("checker: node: unknown command %q", command)
	}
	n.journal.flush()
	return json.NewEncoder(out).Encode(answer)
}

// read reads keys, some much more often than others, at the rate asked for.
func (n *node) read(ctx context.Context, reader int) {
	dice := n.dice(reader)
	keys := rand.NewZipf(dice, 1.1, 4, uint64(n.settings.Keys-1))
	o := n.featured()
	n.pace(ctx, n.settings.ReadsPerSecond/readers, func() {
		if o != nil {
			n.readFeatured(ctx, o, dice, func() uint32 { return uint32(keys.Uint64()) })
			return
		}
		n.readOne(ctx, uint32(keys.Uint64()), history.Read)
	})
}

// featured returns the subject if its features are on.
func (n *node) featured() *ours {
	o, ok := n.subject.(*ours)
	if !ok || !n.settings.Features {
		return nil
	}
	return o
}

// dice returns the source of randomness of one worker.
func (n *node) dice(worker int) *rand.Rand {
	return rand.New(rand.NewPCG(n.settings.Seed, uint64(n.settings.Node*(readers+writers)+worker)))
}

func (n *node) readOne(ctx context.Context, key uint32, as history.Kind) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r := record{Kind: as, Key: key, Start: now()}
	var err error
	r.Version, err = n.subject.fetch(ctx, keyName(key), func(ctx context.Context) (int64, error) {
		return n.load(ctx, key)
	})
	r.End = now()
	if err != nil {
		r.Kind = history.Failed
	}
	n.journal.add(r)
}

// load reads the truth. A slow one answers with what it read a while ago.
func (n *node) load(ctx context.Context, key uint32) (int64, error) {
	version := n.source.load(key)
	if n.settings.SlowLoads {
		select {
		case <-time.After(rand.N(50 * time.Millisecond)):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return version, nil
}

// write changes the truth and tells the cache. Most keys have one writer of
// one node, which sets their values: two that set the same key would have to
// agree on an order first. The others are written by everybody, who then
// invalidates them.
func (n *node) write(ctx context.Context, writer int) {
	dice := n.dice(readers + writer)
	o := n.featured()
	n.pace(ctx, n.settings.WritesPerSecond/writers, func() {
		if o != nil {
			n.writeFeatured(ctx, o, dice, writer)
			return
		}
		key, op := n.choose(dice, writer)
		r := record{Kind: history.Acked, Key: key, Version: n.source.commit(key), Start: now()}
		n.death.at("truth")
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if n.subject.write(call, op, keyName(key), r.Version) != nil {
			r.Kind = history.GaveUp
		}
		r.End = now()
		n.journal.add(r)
	})
}

func (n *node) choose(dice *rand.Rand, writer int) (uint32, operation) {
	keys := n.settings.Keys
	if dice.IntN(openShare) == 0 {
		return uint32(keys - 1 - dice.IntN(keys/openShare)), operation(1 + dice.IntN(2))
	}
	owners := n.settings.Nodes * writers
	owned := (keys - keys/openShare) / owners
	key := uint32(dice.IntN(owned)*owners + n.settings.Node*writers + writer)
	if dice.IntN(4) > 0 {
		return key, set
	}
	return key, operation(1 + dice.IntN(2))
}

// pace calls f so many times a second, as far as time allows, until ctx ends.
func (n *node) pace(ctx context.Context, perSecond int, f func()) {
	began, done := time.Now(), 0
	for ctx.Err() == nil {
		due := int(time.Since(began).Seconds() * float64(perSecond))
		if due-done > perSecond { // what a pause kept from happening is not made up for
			done = due - perSecond
		}
		for ; done < due && ctx.Err() == nil; done++ {
			f()
		}
		time.Sleep(time.Millisecond)
	}
}

func (n *node) look() {
	o := n.featured()
	for key := range n.settings.Keys {
		if o != nil {
			ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
			start := now()
			n.noteAnswers([]answered{o.lookup(ctx, uint32(key), n, history.AtRest)}, start, history.AtRest)
			cancel()
			continue
		}
		n.readOne(context.Background(), uint32(key), history.AtRest)
	}
}

func keyName(key uint32) string { return "key-" + strconv.Itoa(int(key)) }
