package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/integration/servers"
)

// loss is the end of a server that had acknowledged more than its heir has: a
// replica that was behind, or the same server, started again from a file. What
// the heir has ends with its journal. A cache cannot know of such a loss before
// it happened to read the journal again, so until then it may go back in time;
// it may not be later than its bound, because then it asks the source.
type loss struct {
	died, back moment
	kept       []moment // by partition: when the last write was made that the heir has

	partition func(key uint32) int
}

func (l *loss) lost(r *record) bool {
	return r.start < l.died && r.end > l.kept[l.partition(r.key)]
}

// lost reports whether the shared tier may have lost a write.
func (h *history) lost(r *record) bool {
	for i := range h.losses {
		if h.losses[i].lost(r) {
			return true
		}
	}
	return false
}

// excuses reports whether a process may not have known of a loss at a read.
func (h *history) excuses(r *record, bound time.Duration) bool {
	for i := range h.losses {
		if l := &h.losses[i]; r.end > l.died && r.start < l.back+int64(bound) {
			return true
		}
	}
	return false
}

// lose makes a server die and come back, or another in its place, and notes
// what was lost. The heirs are given to killed before anybody can write to
// them; one of them is what becomes of the server.
func (f *field) lose(ctx context.Context, happen func(killed func(heirs []*servers.Process) error) (*servers.Process, error)) error {
	if f.plan.subject != "nearbus" { // others leave no journal
		_, err := happen(func([]*servers.Process) error { return nil })
		return err
	}
	l := loss{partition: f.partition}
	inherited := make(map[*servers.Process][]moment)
	heir, err := happen(func(heirs []*servers.Process) (err error) {
		l.died = now()
		for _, heir := range heirs {
			if inherited[heir], err = f.inherit(ctx, heir); err != nil {
				return err
			}
		}
		return nil
	})
	l.back, l.kept = now(), inherited[heir]
	if err == nil && l.kept == nil {
		err = errors.New("checker: nobody knows what the heir has")
	}
	f.losses = append(f.losses, l)
	return err
}

// inherit reads what an heir has.
func (f *field) inherit(ctx context.Context, heir *servers.Process) (kept []moment, err error) {
	client := redis.NewClient(&redis.Options{Addr: heir.Addr, PoolSize: 1})
	defer client.Close()
	client.Do(ctx, "READONLY") // for replicas of a Cluster; others refuse
	sinceWall := now() - time.Now().UnixNano()
	for p := range f.partitions() {
		if f.shards != nil { // each has one journal
			if f.shards[p] != heir {
				kept = append(kept, math.MaxInt64)
				continue
			}
			p = 0
		}
		last, err := client.XRevRangeN(ctx, journalKey(p), "+", "-", 1).Result()
		switch {
		case redis.HasErrorPrefix(err, "MOVED"):
			kept = append(kept, math.MaxInt64) // it belongs to another, who lost nothing
			continue
		case err != nil:
			return nil, fmt.Errorf("checker: journal of the heir: %w", err)
		case len(last) == 0:
			kept = append(kept, 0)
			continue
		}
		micros, _, _ := strings.Cut(last[0].ID, "-")
		wall, err := strconv.ParseInt(micros, 10, 64)
		if err != nil {
			return nil, errors.Join(errAnswer, err)
		}
		kept = append(kept, wall*int64(time.Microsecond)+sinceWall)
	}
	return kept, nil
}

var errAnswer = errors.New("checker: a server answered something else")

func journalKey(partition int) string {
	return "nearbus:{" + strconv.Itoa(partition) + "}!journal"
}
