package main

import (
	"context"
	"fmt"
	"time"
)

// operation is what a write tells the cache.
type operation int

const (
	set operation = iota
	invalidate
	del
)

// subject is a cache that is shared with other processes, as one of them uses
// it.
type subject interface {
	// fetch returns the version that the cache has of key, or asks load.
	fetch(ctx context.Context, key string, load func(context.Context) (int64, error)) (int64, error)

	// write tells the cache that the truth about key is now version.
	write(ctx context.Context, op operation, key string, version int64) error

	// report returns what the subject knows about itself, for the run.
	report() report

	close()
}

// report is what a process says about itself at its end.
type report struct {
	Clock         time.Duration // longest time in which the clock of its near tier stood still
	SlowestRepair time.Duration // longest answered reading of the journal
	Gaps, Repairs uint64
	Repaired      uint64 // entries that only the journal said were stale
	Owed          int
	Faults        messageFaults
	NearHits      uint64
	Refreshed     uint64 // values that were refreshed before their end

	// What its own meter found: entries compared with the shared tier, those that
	// were stale, and the longest time since the newer value was written.
	Metered, MeteredStale uint64
	MeteredWorst          time.Duration
}

// settings are what a process is started with.
type settings struct {
	Subject string // name of a kind of subject
	Seed    uint64
	Node    int // number of the process, from 0
	Nodes   int
	Keys    int
	Source  string   // file of the source
	Journal string   // file to write down what happens
	Redis   string   // address of the shared tier as this process sees it
	Bus     string   // address of the bus as this process sees it
	BusKind string   // "redis": the bus is on the server of the shared tier; "pubsub"; "nats"; "jetstream"
	Cluster []string // addresses of a Redis Cluster, in place of Redis
	Shards  []string // addresses of several servers that know nothing of each other, in place of Redis
	Watcher string   // address of a Redis Sentinel, in place of Redis

	JournalInterval                 time.Duration `json:"RepairInterval"` // as processes of before call it
	MaxStaleness                    time.Duration
	Off                             []string // mechanisms that are out
	SlowLoads                       bool
	Features                        bool // see featureOptions
	ReadsPerSecond, WritesPerSecond int
}

// timeToLive is long enough that nothing is healed by running out.
const timeToLive = 10 * time.Minute

func openSubject(s settings, d *death) (subject, error) {
	switch s.Subject {
	case "nearbus":
		return openNearbus(s, d)
	case "naive":
		return openNaive(s, d)
	case "rueidis":
		return openRueidis(s)
	case "go-redis":
		return openGoRedis(s), nil
	default:
		return nil, fmt.Errorf("checker: there is no subject %q", s.Subject)
	}
}
