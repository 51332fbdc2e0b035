package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/nearbus/nearbus/nearcache"
)

const (
	callers   = 64
	batchKeys = 100
)

// sharedHits reads what is in the shared tier and not in memory.
func sharedHits(e *env) []row {
	fleet := e.name()
	// So many keys that the near copy of one has expired when its turn comes.
	users := value(nearcache.New(e.node(fleet, nearcache.NodeOptions{}), "users", nearcache.Options[user]{NearTTL: time.Nanosecond}))
	client, prefix := e.client(), e.name()+":"
	e.fill(keySpace, func(key string) error {
		return errors.Join(users.Set(e.ctx, key, someUser), client.Set(e.ctx, prefix+key, encodedUser, longLife).Err())
	})
	auto := value(client.AutoPipeline())
	e.atEnd(func() { _ = auto.Close() })
	other := value(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{e.redis()}, DisableCache: true}))
	e.atEnd(other.Close)

	ours := each("nearbus", func(i int) error {
		u, err := users.Fetch(e.ctx, keys[i%keySpace], mustNotLoad)
		return expect(u, err)
	})
	pooled := each("go-redis", func(i int) error {
		return decoded(client.Get(e.ctx, prefix+keys[i%keySpace]).Bytes())
	})
	pipelined := each("go-redis AutoPipeline", func(i int) error {
		return decoded(auto.Get(e.ctx, prefix+keys[i%keySpace]).Bytes())
	})
	rueidisGet := each("rueidis", func(i int) error {
		return decoded(other.Do(e.ctx, other.B().Get().Key(prefix+keys[i%keySpace]).Build()).AsBytes())
	})
	contenders := []contender{ours, pooled, pipelined, rueidisGet}
	one, crowd := e.compare(1, contenders...), e.compare(callers, contenders...)
	many := e.compare(1, manyContenders(e, users, client, prefix)...)
	rows := []row{
		{work: "one caller", unit: nanoseconds, cells: one, targets: []target{{"go-redis", 1.1}}},
		onProcessors("one caller", one),
		{work: "64 callers", unit: perSecond, cells: rates(crowd), targets: []target{{"go-redis", 2.5}, {pipelined.who, 0.95}}},
		onProcessors("64 callers", crowd, target{pipelined.who, 1.25}),
		{work: "100 keys at once", unit: nanoseconds, cells: many, targets: []target{{"go-redis", 1.15}}},
		onProcessors("100 keys at once", many),
	}
	if n := users.Stats().Reads.Hits; n > users.Stats().Reads.Misses/100 {
		must(errWrong) // this was to be about the shared tier
	}
	return rows
}

func mustNotLoad(context.Context, string) (user, error) { return user{}, errWrong }

func loadUser(context.Context, string) (user, error) { return someUser, nil }

func expect(u user, err error) error {
	if err == nil && !isUser(u) {
		err = errWrong
	}
	return err
}

func decoded(data []byte, err error) error {
	if err != nil {
		return err
	}
	var u user
	err = json.Unmarshal(data, &u)
	return expect(u, err)
}

func manyContenders(e *env, users *nearcache.Cache[user], client *redis.Client, prefix string) []contender {
	batch := func(i int) []string {
		at := i * batchKeys % (keySpace - batchKeys)
		return keys[at : at+batchKeys]
	}
	return []contender{
		each("nearbus", func(i int) error {
			found, err := users.FetchMany(e.ctx, batch(i), func(context.Context, []string) (map[string]user, error) { return nil, errWrong })
			if err == nil && len(found) != batchKeys {
				err = errWrong
			}
			return err
		}),
		each("go-redis", func(i int) error {
			names := make([]string, batchKeys)
			for k, key := range batch(i) {
				names[k] = prefix + key
			}
			values, err := client.MGet(e.ctx, names...).Result()
			if err != nil {
				return err
			}
			found := make(map[string]user, len(values))
			for k, v := range values {
				text, ok := v.(string)
				var u user
				if !ok || json.Unmarshal([]byte(text), &u) != nil {
					return errWrong
				}
				found[batch(i)[k]] = u
			}
			return nil
		}),
	}
}
