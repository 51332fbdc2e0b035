package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// env is what a section works with. What it opens lasts for the section.
type env struct {
	ctx    context.Context
	rounds int           // turns of each contender
	turn   time.Duration // how long a turn lasts, about
	mu     sync.Mutex    // protects closes
	closes []func()
	names  int
	redis  func() string
	server *servers.Process // behind redis, once it was called
}

func newEnv(ctx context.Context, rounds int, turn time.Duration) *env {
	e := &env{ctx: ctx, rounds: rounds, turn: turn}
	e.redis = sync.OnceValue(func() string {
		p, err := servers.StartRedis(ctx)
		must(err)
		e.atEnd(p.Stop)
		e.server = p
		return p.Addr
	})
	return e
}

func (e *env) atEnd(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closes = append(e.closes, f)
}

// close closes in the reverse order of opening.
func (e *env) close() {
	for _, end := range slices.Backward(e.closes) {
		end()
	}
}

// name returns a name that nobody has.
func (e *env) name() string {
	e.names++
	return "peers" + strconv.Itoa(e.names)
}

// failure is what must panics with, for section.run to report.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }

func must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func value[T any](v T, err error) T {
	must(err)
	return v
}

// patience is how long clients wait: others may use the machine.
const patience = 30 * time.Second

func (e *env) client() *redis.Client { return e.clientOf(e.redis(), 50) }

func (e *env) clientOf(addr string, pool int) *redis.Client {
	c := redis.NewClient(&redis.Options{
		Addr: addr, PoolSize: pool, MaxRetries: -1, ContextTimeoutEnabled: true,
		ReadTimeout: patience, WriteTimeout: patience,
	})
	e.atEnd(func() { _ = c.Close() })
	return c
}

func (e *env) nats(adjust ...func(*server.Options)) string {
	s := value(servers.StartNATS(adjust...))
	e.atEnd(s.Stop)
	return s.URL
}

// node returns a node of the fleet of this name. Its shared tier and its bus are
// Redis.
func (e *env) node(fleet string, opts nearcache.NodeOptions) *nearcache.Node {
	client := e.client()
	return e.nodeOn(client, fleet, value(redisbus.New(client, redisbus.Options{Channel: fleet})), opts)
}

// nodeOn is node with a bus of its own.
func (e *env) nodeOn(client *redis.Client, fleet string, transport bus.Transport, opts nearcache.NodeOptions) *nearcache.Node {
	store := value(redisstore.New(client, redisstore.Options{Prefix: fleet}))
	n := e.open(value(shared.New(store, shared.Options{Timeout: patience})), transport, opts)
	e.eventually(func() bool { return n.Stats().Journal.Rounds > 0 })
	return n
}

// alone returns a node that shares nothing with anybody.
func (e *env) alone(opts nearcache.NodeOptions) *nearcache.Node {
	return e.open(nil, membus.NewHub().Join(), opts)
}

// openAlone is alone for a node that is closed before the section ends.
func (e *env) openAlone(opts nearcache.NodeOptions) (n *nearcache.Node, end func()) {
	n, end = e.start(nil, membus.NewHub().Join(), opts)
	return n, end
}

func (e *env) open(tier *shared.Tier, transport bus.Transport, opts nearcache.NodeOptions) *nearcache.Node {
	n, end := e.start(tier, transport, opts)
	e.atEnd(end)
	return n
}

func (e *env) start(tier *shared.Tier, transport bus.Transport, opts nearcache.NodeOptions) (n *nearcache.Node, end func()) {
	messages := value(bus.New(transport, bus.Options{}))
	n = value(nearcache.NewNode(tier, messages, opts))
	e.eventually(func() bool { return !n.Stats().Bus.Cut })
	return n, func() { _ = n.Close(context.Background()); _ = messages.Close() }
}

func (e *env) eventually(ok func() bool) {
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			must(fmt.Errorf("waited in vain"))
		}
		time.Sleep(time.Millisecond)
	}
}

func workers() int { return runtime.GOMAXPROCS(0) }

// processors returns the time that processors have spent on this process, and on
// Redis where the system says so, in nanoseconds.
func (e *env) processors() float64 {
	var own syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &own))
	spent := float64(own.Utime.Nano() + own.Stime.Nano())
	if e.server != nil {
		var theirs float64
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", e.server.PID()))
		if _, scanErr := fmt.Sscan(string(stat), &theirs); err == nil && scanErr == nil {
			spent += theirs
		}
	}
	return spent
}

// fill has several goroutines do something for each of the first n keys.
func (e *env) fill(n int, do func(key string) error) {
	var wg sync.WaitGroup
	errs := make([]error, callers)
	for w := range callers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += callers {
				errs[w] = do(keys[i])
			}
		})
	}
	wg.Wait()
	must(errors.Join(errs...))
}
