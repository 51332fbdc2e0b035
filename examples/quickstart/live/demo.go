package live

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	ownPause  = 600 * time.Millisecond // between two writes that nobody asked for
	queryTime = 2 * time.Millisecond   // that the database takes
	maxWrites = 16                     // under way at once
)

var (
	errBusy   = errors.New("live: too many writes are under way")
	errNoSuch = errors.New("live: no such server or record")
	errClosed = errors.New("live: closed")
)

// Demo is both caches at work, and the database behind them. Its methods may be called from many
// goroutines.
type Demo struct {
	switches *switches
	database [keys]atomic.Int64  // the version of each record
	turns    [keys]chan struct{} // has a place for the write of a key, so that the caches see one order
	sides    [2]*side            // nearbus, and the usual cache
	resting  atomic.Bool         // nothing is written that nobody asked for

	life   context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	places chan struct{} // one for each write

	mu     sync.Mutex // protects closed, and work.Go from the outside
	closed bool
}

// New starts the caches, their readers and a writer, which work until Close.
func New() (*Demo, error) {
	d := &Demo{switches: newSwitches(), places: make(chan struct{}, maxWrites)}
	for key := range keys {
		d.database[key].Store(1)
		d.turns[key] = make(chan struct{}, 1)
	}
	for i := range d.sides {
		d.sides[i] = newSide(i, d.switches)
	}
	d.life, d.cancel = context.WithCancel(context.Background())
	nearbus, err := openOurs(d.life, d.switches, d.sides[0].traffic, d.query)
	if err != nil {
		d.cancel()
		return nil, err
	}
	d.sides[0].contender = nearbus
	usual, err := openUsual(d.switches, d.sides[1].traffic, d.query)
	if err != nil {
		d.cancel()
		nearbus.close()
		return nil, err
	}
	d.sides[1].contender = usual
	for _, s := range d.sides {
		for server := range servers {
			for key := range keys {
				d.work.Go(func() { s.read(d.life, server, key) })
			}
		}
	}
	d.work.Go(d.writeOften)
	d.work.Go(d.grow)
	return d, nil
}

// grow lets acknowledged writes grow older.
func (d *Demo) grow() {
	for d.life.Err() == nil {
		time.Sleep(pulse)
		for _, s := range d.sides {
			s.acked.age(&s.settled)
		}
	}
}

// Close ends everything and waits for it.
func (d *Demo) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.work.Wait()
	for _, s := range d.sides {
		s.close()
	}
}

// query is the loader of both caches.
func (d *Demo) query(ctx context.Context, key string) (int64, error) {
	n, err := strconv.Atoi(key)
	if err != nil {
		return 0, err
	}
	version := d.database[n].Load()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(queryTime):
		return version, nil
	}
}

// writeOften writes once in a while, so that there is something to see.
func (d *Demo) writeOften() {
	for {
		select {
		case <-d.life.Done():
			return
		case <-time.After(ownPause):
		}
		if !d.resting.Load() {
			_ = d.WriteAny() // the next one may find a place
		}
	}
}

// WriteAny changes a record by chance, through a server by chance that runs.
func (d *Demo) WriteAny() error {
	faults := d.switches.now()
	for _, server := range rand.Perm(servers) {
		if !faults.Paused[server] {
			return d.Write(server, rand.IntN(keys))
		}
	}
	return nil // all stand still
}

// Write changes a record in the database and tells both caches of one server. It does not wait
// for them. A server that stands still does it when it goes on.
func (d *Demo) Write(server, key int) error {
	if server < 0 || server >= servers || key < 0 || key >= keys {
		return errNoSuch
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	select {
	case d.places <- struct{}{}:
	default:
		return errBusy
	}
	d.work.Go(func() { // ends when both caches answered
		defer func() { <-d.places }()
		d.write(server, key)
	})
	return nil
}

func (d *Demo) write(server, key int) {
	if d.switches.runs(d.life, server) != nil {
		return
	}
	d.turns[key] <- struct{}{} // who is in turn answers within callTime
	defer func() { <-d.turns[key] }()
	version := d.database[key].Add(1)
	var both sync.WaitGroup
	for _, s := range d.sides {
		both.Go(func() { s.store(d.life, &d.work, server, key, version) })
	}
	both.Wait()
}

// Switch turns a fault on or off: "cut" or "pause" of a server, "bus" or "store". With "rest" it
// says whether records are written that nobody asked for.
func (d *Demo) Switch(name string, server int, on bool) error {
	switch name {
	case "cut", "pause":
		if server < 0 || server >= servers {
			return errNoSuch
		}
	case "bus", "store", "rest":
	default:
		return errNoSwitch
	}
	d.switches.change(func(f *Faults) {
		switch name {
		case "cut":
			f.Cut[server] = on
		case "pause":
			f.Paused[server] = on
		case "bus":
			f.Bus = on
		case "store":
			f.Store = on
		case "rest":
			d.resting.Store(on)
		}
	})
	return nil
}

// Heal turns all faults off.
func (d *Demo) Heal() { d.switches.change(func(f *Faults) { *f = Faults{} }) }
