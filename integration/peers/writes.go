package main

import (
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/nearcache"
)

// writes sets values, by one writer and by many.
func writes(e *env) []row {
	fleet := e.name()
	users := value(nearcache.New(e.node(fleet, nearcache.NodeOptions{}), "users", nearcache.Options[user]{}))
	client, name := e.client(), e.name()
	sub := e.client().Subscribe(e.ctx, name)
	e.atEnd(func() { _ = sub.Close() })
	messages := sub.Channel()
	go func() { // ends when the subscription is closed
		for range messages {
		}
	}()
	contenders := []contender{
		each("nearbus", func(i int) error { return users.Set(e.ctx, keys[i%1000], someUser) }),
		each("SET, XADD, PUBLISH", func(i int) error {
			_, err := client.Pipelined(e.ctx, func(pipe redis.Pipeliner) error {
				e.store(pipe, name+":", keys[i%1000])
				pipe.Publish(e.ctx, name, keys[i%1000])
				return nil
			})
			return err
		}),
	}
	one, crowd := e.compare(1, contenders...), e.compare(callers, contenders...)
	return []row{
		{work: "one writer", unit: nanoseconds, cells: one, targets: []target{{"SET, XADD, PUBLISH", 1.25}}},
		{work: "64 writers", unit: perSecond, cells: rates(crowd), targets: []target{{"SET, XADD, PUBLISH", 0.8}}},
		onProcessors("64 writers", crowd),
	}
}
