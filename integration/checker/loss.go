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

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/integration/servers"
)

// lose makes a server die and come back, or another in its place, and notes
// what was lost. The heirs are given to killed before anybody can write to
// them; one of them is what becomes of the server.
func (f *field) lose(ctx context.Context, happen func(killed func(heirs []*servers.Process) error) (*servers.Process, error)) error {
	if f.plan.subject != "nearbus" { // others leave no journal
		_, err := happen(func([]*servers.Process) error { return nil })
		return err
	}
	var l history.Loss
	inherited := make(map[*servers.Process][]history.Moment)
	heir, err := happen(func(heirs []*servers.Process) (err error) {
		l.Died = now()
		for _, heir := range heirs {
			if inherited[heir], err = f.inherit(ctx, heir); err != nil {
				return err
			}
		}
		return nil
	})
	l.Back = now()
	kept := inherited[heir] // by partition: when the last write was made that the heir has
	if err == nil && kept == nil {
		err = errors.New("checker: nobody knows what the heir has")
	}
	l.Lost = func(r *record) bool { return r.Start < l.Died && r.End > kept[f.partition(r.Key)] }
	f.losses = append(f.losses, l)
	return err
}

// inherit reads what an heir has.
func (f *field) inherit(ctx context.Context, heir *servers.Process) (kept []history.Moment, err error) {
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
