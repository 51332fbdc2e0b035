package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/nearbus/nearbus/nearcache"
)

// memoryEntries is how many entries are counted, of 16 bytes of key and 64 of
// value each.
const memoryEntries = 1_000_000

// memory weighs entries by the heap that is reachable while they are held.
func memory(e *env) []row {
	holders := []struct {
		who  string
		open opener
	}{{"nearbus", e.holdNear}, {ristrettoTTL, holdRistretto}, {otterTTL, holdOtter}, {plainMap, holdMap}}
	weights, collections := make([]cell, len(holders)), make([]cell, len(holders))
	for i, h := range holders {
		weights[i], collections[i] = e.weigh(h.who, h.open)
	}
	rows := []row{{
		work: "heap for each of 1,000,000 entries", unit: bytesEach, cells: weights,
		targets: []target{{ristrettoTTL, 0.75}},
	}, {
		work: "a whole collection of garbage with 1,000,000 entries", unit: nanoseconds, cells: collections,
		targets: []target{{plainMap, 0.5}},
	}}
	for _, kind := range []struct {
		name   string
		budget int64
		size   int
	}{{"256 bytes", 64 << 20, 256}, {"1 MB", 128 << 20, 1 << 20}} {
		rows = append(rows, row{
			work: "heap of a full near tier, values of " + kind.name + ", share of its budget", unit: percentSpent,
			cells: []cell{e.budget(kind.budget, kind.size)}, targets: []target{{"", 110}},
		})
	}
	return append(rows, row{
		work: "heap of a full near tier, structs, share of its budget", unit: percentSpent,
		cells: []cell{e.budgetOfStructs(64 << 20)}, targets: []target{{"", 110}},
	})
}

type opener func() (put func(key string, v []byte), entries func() int, end func())

// weigh returns what each entry takes of the heap, and how long collections take.
func (e *env) weigh(who string, open opener) (weight, collections cell) {
	before := heap()
	put, entries, end := open()
	for i := range memoryEntries {
		put(fmt.Sprintf("user:%011d", i), make([]byte, 64))
	}
	e.eventually(func() bool { return entries() >= memoryEntries*9/10 })
	grown := heap() - before
	n := entries()
	collections.who = who
	for range e.rounds {
		began := time.Now()
		runtime.GC()
		collections.samples = append(collections.samples, float64(time.Since(began).Nanoseconds()))
	}
	end()
	return cell{who: who, samples: []float64{float64(grown) / float64(n)}}, collections
}

func (e *env) holdNear() (put func(string, []byte), entries func() int, end func()) {
	n, closeNode := e.openAlone(nearcache.NodeOptions{NearBytes: 512 << 20})
	c := value(nearcache.New(n, "values", nearcache.Options[[]byte]{TTL: longLife, Cost: func(v []byte) int64 { return int64(len(v)) }}))
	put = func(key string, v []byte) {
		_ = value(c.Fetch(e.ctx, key, func(context.Context, string) ([]byte, error) { return v, nil }))
	}
	return put, func() int { return int(n.Stats().Near.Entries) }, closeNode
}

func holdRistretto() (put func(string, []byte), entries func() int, end func()) {
	c := value(ristretto.NewCache(&ristretto.Config[string, []byte]{
		NumCounters: 10 * memoryEntries, MaxCost: 2 * memoryEntries, BufferItems: 64, IgnoreInternalCost: true,
	}))
	n := 0
	put = func(key string, v []byte) {
		c.SetWithTTL(key, v, 1, longLife)
		if n++; n%100 == 0 { // it drops what comes too fast
			c.Wait()
		}
	}
	return put, func() int { c.Wait(); return n }, c.Close
}

func holdOtter() (put func(string, []byte), entries func() int, end func()) {
	c := otter.Must(&otter.Options[string, []byte]{
		MaximumSize: 2 * memoryEntries, ExpiryCalculator: otter.ExpiryWriting[string, []byte](longLife),
	})
	return func(key string, v []byte) { c.Set(key, v) }, c.EstimatedSize, func() { runtime.KeepAlive(c) }
}

// holdMap keeps what an entry of the near tier has beside its key.
func holdMap() (put func(string, []byte), entries func() int, end func()) {
	type entry struct {
		_, _  *entry
		_     [72]byte
		value []byte
	}
	m := make(map[string]*entry)
	return func(key string, v []byte) { m[key] = &entry{value: v} }, func() int { return len(m) }, func() { runtime.KeepAlive(m) }
}

// budget fills a near tier three times over, each value a slice, and returns what
// the heap grew by, as a share of the budget.
func (e *env) budget(bytes int64, size int) cell {
	return filledOver(e, bytes, int(3*bytes/int64(size)), func() []byte { return make([]byte, size) }, func(v []byte) int64 { return int64(len(v)) })
}

func (e *env) budgetOfStructs(bytes int64) cell {
	return filledOver(e, bytes, int(3*bytes/300), func() user { return someUser }, nil)
}

func filledOver[V any](e *env, bytes int64, entries int, v func() V, cost func(V) int64) cell {
	before := heap()
	n, closeNode := e.openAlone(nearcache.NodeOptions{NearBytes: bytes})
	c := value(nearcache.New(n, "values", nearcache.Options[V]{TTL: longLife, Cost: cost}))
	for i := range entries {
		_ = value(c.Fetch(e.ctx, fmt.Sprintf("user:%011d", i), func(context.Context, string) (V, error) { return v(), nil }))
	}
	time.Sleep(300 * time.Millisecond) // the policy's queue
	grown := heap() - before
	closeNode()
	return cell{who: "nearbus", samples: []float64{100 * float64(grown) / float64(bytes)}}
}
