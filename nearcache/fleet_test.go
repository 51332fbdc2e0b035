package nearcache_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/fault"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// fleet is a shared tier and a bus in memory, which nodes join.
type fleet struct {
	t     *testing.T
	store *gate
	hub   *membus.Hub

	announces bool // the store publishes what it writes, in one step
	journal   bool // the store shows its journal
	off       fault.Switches
	tierOpts  shared.Options
	nodeOpts  nearcache.NodeOptions
	lossy     bool // nodes hear every other message

	tiers []*shared.Tier // of the nodes that joined, in their order
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, hub: membus.NewHub()}
	memory := memstore.New(memstore.Options{})
	f.store = &gate{Store: memory, identity: memory, hub: f.hub.Join()}
	return f
}

// member is one node of a fleet, with its cache.
type member struct {
	*nearcache.Cache[string]
	node *nearcache.Node
	bus  *bus.Bus
	link *link
}

// join adds a node that hears the bus. It is closed at the end of the test.
func (f *fleet) join(opts ...nearcache.Options[string]) *member {
	f.t.Helper()
	return f.joinOver(f.store.forNode(f), opts...)
}

// joinOver is join for a node with a store of its own.
func (f *fleet) joinOver(store driver.Store, opts ...nearcache.Options[string]) *member {
	f.t.Helper()
	m := &member{link: &link{Transport: f.hub.Join(), announces: f.announces, hub: f.hub}}
	tier, err := shared.New(store, f.tierOpts)
	require.NoError(f.t, err)
	f.tiers = append(f.tiers, tier)
	m.bus, err = bus.New(m.link, bus.Options{Logger: f.nodeOpts.Logger})
	require.NoError(f.t, err)
	m.node, err = nearcache.NewBrokenNode(tier, m.bus, f.nodeOpts, f.off)
	require.NoError(f.t, err)
	f.t.Cleanup(func() {
		_ = m.node.Close(atOnce) // which tells of what is pending
		require.NoError(f.t, m.bus.Close())
	})
	m.Cache, err = nearcache.New(m.node, "users", append(opts, nearcache.Options[string]{})[0])
	require.NoError(f.t, err)
	f.eventually(func() bool {
		return !m.node.Stats().Bus.Cut && (!f.journal || f.off.Off(fault.Journal) || m.node.Stats().Journal.Rounds > 0)
	})
	return m
}

// joinBusOnly adds a node without a shared tier.
func (f *fleet) joinBusOnly() *member {
	f.t.Helper()
	m := &member{link: &link{Transport: f.hub.Join(), hub: f.hub}}
	var err error
	m.bus, err = bus.New(m.link, bus.Options{})
	require.NoError(f.t, err)
	m.node, err = nearcache.NewBrokenNode(nil, m.bus, f.nodeOpts, f.off)
	require.NoError(f.t, err)
	f.t.Cleanup(func() {
		_ = m.node.Close(atOnce) // which tells of what is pending
		require.NoError(f.t, m.bus.Close())
	})
	m.Cache, err = nearcache.New(m.node, "users", nearcache.Options[string]{})
	require.NoError(f.t, err)
	f.eventually(func() bool { return !m.node.Stats().Bus.Cut })
	return m
}

// eventually waits for what happens without further ado.
func (f *fleet) eventually(ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			f.t.Fatal("it did not happen")
		}
		time.Sleep(time.Millisecond)
	}
}

// bubble runs test with a fleet in a synctest bubble.
func bubble(t *testing.T, test func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		test(t, newFleet(t))
	})
}

// settle waits until all that was sent is applied. It works in bubbles only.
func settle() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

// is returns a loader of one value.
func is(v string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return v, nil }
}

var errNoLoad = errors.New("the loader must not be called")

// none is a loader that must not be called.
func none(context.Context, string) (string, error) { return "", errNoLoad }

// counting returns a loader and the number of its calls.
func counting(v string, takes time.Duration) (func(context.Context, string) (string, error), *atomic.Int64) {
	var n atomic.Int64
	return func(ctx context.Context, _ string) (string, error) {
		n.Add(1)
		select {
		case <-time.After(takes):
			return v, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}, &n
}

// gate is a store whose calls can be held, failed or counted. Its fields may be
// changed while no call is under way.
type gate struct {
	driver.Store
	identity driver.Store // has that of the tier, which nodes read by themselves at any time
	hub      *membus.Transport

	// before and after are called with the kind of call (read, write, fill,
	// acquire, touch) and its first key, on either side of the real store; an error
	// of before is the answer, an error of after replaces it.
	mu            sync.Mutex
	before, after func(ctx context.Context, op, key string) error

	// abandoned makes the real store carry out what the caller gave up.
	abandoned atomic.Bool

	lag atomic.Bool // the journal has nothing new

	limit int // largest image; 0: none

	// warning comes with every reset of the journal.
	warning error

	reads, writes, fills, acquires, touches, tails atomic.Int64
}

func (g *gate) hook(ctx context.Context, op, key string, isAfter bool) error {
	g.mu.Lock()
	f := g.before
	if isAfter {
		f = g.after
	}
	g.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(ctx, op, key)
}

// onBefore and onAfter set the hooks.
func (g *gate) onBefore(f func(ctx context.Context, op, key string) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = f
}

func (g *gate) onAfter(f func(ctx context.Context, op, key string) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.after = f
}

func (g *gate) MaxImage() int { return g.limit }

// down makes every call fail.
func (g *gate) down() {
	g.onBefore(func(context.Context, string, string) error { return errDown })
}

var errDown = errors.New("connection refused")

func (g *gate) Read(ctx context.Context, keys []string) ([][]byte, error) {
	if isIdentity(keys[0]) {
		return g.identity.Read(ctx, keys)
	}
	g.reads.Add(1)
	if err := g.hook(ctx, "read", keys[0], false); err != nil {
		return nil, err
	}
	images, err := g.Store.Read(ctx, keys)
	return images, errors.Join(err, g.hook(ctx, "read", keys[0], true))
}

func (g *gate) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	g.writes.Add(1)
	if err := g.hook(ctx, "write", writes[0].Key, false); err != nil {
		return slices.Repeat([]driver.Receipt{{Err: err}}, len(writes))
	}
	if g.abandoned.Load() {
		ctx = context.WithoutCancel(ctx)
	}
	receipts := g.Store.Write(ctx, writes)
	for i := range writes {
		g.announce(&writes[i], &receipts[i])
	}
	if err := g.hook(ctx, "write", writes[0].Key, true); err != nil {
		return slices.Repeat([]driver.Receipt{{Err: err}}, len(writes))
	}
	return receipts
}

// announce publishes as a store does that is one with the bus.
func (g *gate) announce(w *driver.Write, r *driver.Receipt) {
	if w.Announce == nil || r.Err != nil {
		return
	}
	payload := slices.Clone(w.Announce.Payload)
	binary.BigEndian.PutUint64(payload[w.Announce.RevisionAt:], r.Revision.Epoch)
	binary.BigEndian.PutUint64(payload[w.Announce.RevisionAt+8:], r.Revision.Number)
	_ = g.hub.Publish(context.Background(), payload)
}

func (g *gate) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	if isIdentity(writes[0].Key) {
		return g.identity.Fill(ctx, writes)
	}
	g.fills.Add(1)
	receipts := make([]driver.Receipt, len(writes))
	for i := range writes {
		err := g.hook(ctx, "fill", writes[i].Key, false)
		if err == nil {
			receipts[i] = g.Store.Fill(ctx, writes[i:i+1])[0]
			err = g.hook(ctx, "fill", writes[i].Key, true)
		}
		if err != nil {
			receipts[i] = driver.Receipt{Err: err}
		}
	}
	return receipts
}

func (g *gate) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	if isIdentity(leases[0].Key) {
		return g.identity.Acquire(ctx, leases)
	}
	g.acquires.Add(1)
	grants := make([]driver.Grant, len(leases))
	for i := range leases {
		err := g.hook(ctx, "acquire", leases[i].Key, false)
		if err == nil {
			grants[i] = g.Store.Acquire(ctx, leases[i:i+1])[0]
			err = g.hook(ctx, "acquire", leases[i].Key, true)
		}
		if err != nil {
			grants[i].Err = errors.Join(grants[i].Err, err)
		}
	}
	return grants
}

// Touch implements driver.Toucher. The kind of its calls is touch.
func (g *gate) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	g.touches.Add(1)
	err := g.hook(ctx, "touch", touches[0].Key, false)
	if err != nil {
		return slices.Repeat([]driver.Receipt{{Err: err}}, len(touches))
	}
	receipts := g.Store.(driver.Toucher).Touch(ctx, touches)
	if err := g.hook(ctx, "touch", touches[0].Key, true); err != nil {
		return slices.Repeat([]driver.Receipt{{Err: err}}, len(touches))
	}
	return receipts
}

// isIdentity reports whether a key is of the identity of the shared tier, which nodes read
// beside all else. Gates let it pass, and count it nowhere.
func isIdentity(key string) bool { return strings.HasPrefix(key, "!tier") }

// forNode returns the store as one node sees it.
func (g *gate) forNode(f *fleet) driver.Store {
	switch {
	case f.announces && f.journal:
		return struct {
			announcingGate
			journalGate
		}{announcingGate{g, f.hub}, journalGate{g}}
	case f.announces:
		return announcingGate{g, f.hub}
	case f.journal:
		return struct {
			*gate
			journalGate
		}{g, journalGate{g}}
	}
	return g
}

// journalGate is the journal of a gate. The kind of its calls is tail.
type journalGate struct{ g *gate }

func (j journalGate) Partitions() int { return 1 }

func (j journalGate) Partition(string) int { return 0 }

func (j journalGate) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	j.g.tails.Add(1)
	err := j.g.hook(ctx, "tail", "", false)
	tails := make([]driver.Tail, len(reads))
	if err == nil {
		tails = j.g.Store.(driver.Journaler).Tail(ctx, reads)
		err = j.g.hook(ctx, "tail", "", true)
	}
	for i := range tails {
		if j.g.lag.Load() {
			tails[i] = driver.Tail{Next: reads[i].From}
		}
		tails[i].Err = errors.Join(tails[i].Err, err)
		if tails[i].Reset {
			tails[i].Warning = j.g.warning
		}
	}
	return tails
}

func (j journalGate) Recall(ctx context.Context, partition, limit int) ([]driver.JournalEntry, error) {
	if err := j.g.hook(ctx, "recall", "", false); err != nil {
		return nil, err
	}
	return j.g.Store.(driver.Recaller).Recall(ctx, partition, limit)
}

type announcingGate struct {
	*gate
	hub *membus.Hub
}

func (g announcingGate) Endpoint() any { return g.hub }

// link is a node's transport. It can be cut, and can lose what it is to send.
type link struct {
	*membus.Transport
	hub       *membus.Hub
	announces bool

	deaf  atomic.Bool // delivers nothing
	loses atomic.Bool // delivers everything but news
	lossy bool        // delivers every other message, at random
	late  atomic.Bool // delivers news 600 ms later
	mute  atomic.Bool // fails to publish
	slow  atomic.Bool // takes a second to publish

	hold atomic.Pointer[chan struct{}] // news is published once it is closed
}

func (l *link) Endpoint() any {
	if !l.announces {
		return nil
	}
	return l.hub
}

func (l *link) Channel() string { return "" }

func (l *link) Publish(ctx context.Context, payload []byte) error {
	if l.mute.Load() {
		return errDown
	}
	if l.slow.Load() {
		time.Sleep(time.Second)
	}
	if held := l.hold.Load(); held != nil && len(payload) > 2 && payload[2] == 1 {
		select {
		case <-*held:
		case <-ctx.Done():
		}
	}
	return l.Transport.Publish(ctx, payload)
}

func (l *link) Receive(ctx context.Context, sink bus.Sink) error {
	deliver := sink.Deliver
	sink.Deliver = func(payload []byte) {
		heartbeat := len(payload) > 2 && payload[2] == 2
		news := len(payload) > 2 && payload[2] == 1
		if news && l.late.Load() {
			time.Sleep(600 * time.Millisecond)
		}
		if lost := l.deaf.Load() || news && l.loses.Load() || l.lossy && !heartbeat && rand.IntN(2) == 0; !lost {
			deliver(payload)
		}
	}
	return l.Transport.Receive(ctx, sink)
}

// atOnce has ended: what is closed with it waits for nothing.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
