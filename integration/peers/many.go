package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/nearcache"
)

const (
	setsAndEntries = "pipeline of SET, XADD"
	getsAndSets    = "MGET, pipeline of SET"
)

// many writes many keys by one call, and loads many that nobody has.
func many(e *env) (rows []row) {
	e.turn = max(e.turn, farTurn)
	fleet := e.name()
	users := value(nearcache.New(e.node(fleet, nearcache.NodeOptions{}), "users", nearcache.Options[user]{}))
	client, prefix := e.client(), e.name()+":"
	for _, n := range []int{100, 1_000, 10_000} {
		sets := perKey(n, e.compare(1, e.setsOf(users, client, prefix, n)...))
		loads := perKey(n, e.compare(1, e.loadsOf(users, client, prefix, n)...))
		work := fmt.Sprintf("%d keys", n)
		rows = append(rows,
			row{work: "SetMany of " + work + ", for each", unit: nanoseconds, cells: sets, targets: []target{{setsAndEntries, 2.5}}},
			row{work: "cold FetchMany of " + work + ", for each", unit: nanoseconds, cells: loads, targets: []target{{getsAndSets, 3.5}}},
			onProcessors("SetMany of "+work+", for each", sets),
			onProcessors("cold FetchMany of "+work+", for each", loads))
	}
	return rows
}

// perKey is what a key of n took.
func perKey(n int, cells []cell) []cell {
	for _, c := range cells {
		for i := range c.samples {
			c.samples[i] /= float64(n)
			c.cpu[i] /= float64(n)
		}
	}
	return cells
}

func (e *env) setsOf(users *nearcache.Cache[user], client *redis.Client, prefix string, n int) []contender {
	values := make(map[string]user, n)
	for _, key := range keys[:n] {
		values[key] = someUser
	}
	return []contender{
		each("nearbus", func(int) error { return users.SetMany(e.ctx, values) }),
		each(setsAndEntries, func(int) error {
			_, err := client.Pipelined(e.ctx, func(pipe redis.Pipeliner) error {
				for key, u := range values {
					if _, err := json.Marshal(u); err != nil {
						return err
					}
					e.store(pipe, prefix, key)
				}
				pipe.Publish(e.ctx, prefix, n)
				return nil
			})
			return err
		}),
	}
}

func (e *env) loadsOf(users *nearcache.Cache[user], client *redis.Client, prefix string, n int) []contender {
	load := func(_ context.Context, missing []string) (map[string]user, error) {
		loaded := make(map[string]user, len(missing))
		for _, key := range missing {
			loaded[key] = someUser
		}
		return loaded, nil
	}
	var next atomic.Int64
	unknown := func() []string {
		from := int(next.Add(int64(n))) - n
		names := make([]string, n)
		for i := range names {
			names[i] = "cold-" + strconv.Itoa(n) + "-" + strconv.Itoa(from+i)
		}
		return names
	}
	return []contender{
		each("nearbus", func(int) error {
			found, err := users.FetchMany(e.ctx, unknown(), load)
			if err == nil && len(found) != n {
				err = errWrong
			}
			return err
		}),
		each(getsAndSets, func(int) error { return e.loadByHand(client, prefix, unknown(), load) }),
	}
}

// loadByHand asks for all, and stores what was loaded.
func (e *env) loadByHand(client *redis.Client, prefix string, missing []string, load func(context.Context, []string) (map[string]user, error)) error {
	names := make([]string, len(missing))
	for i, key := range missing {
		names[i] = prefix + key
	}
	if values, err := client.MGet(e.ctx, names...).Result(); err != nil || values[0] != nil {
		return errors.Join(errWrong, err)
	}
	loaded, err := load(e.ctx, missing)
	if err != nil {
		return err
	}
	_, err = client.Pipelined(e.ctx, func(pipe redis.Pipeliner) error {
		for key, u := range loaded {
			data, err := json.Marshal(u)
			if err != nil {
				return err
			}
			pipe.Set(e.ctx, prefix+key, data, longLife)
		}
		return nil
	})
	return err
}
