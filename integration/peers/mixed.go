package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

const (
	mixedNodes   = 3
	mixedWorkers = 4 // on each node
	mixedNear    = 64 << 20

	overPubSub = "nearbus"
	overNats   = "nearbus, NATS"
	byHand     = "ristretto, SET and PUBLISH"
	byScript   = "ristretto, script"
)

// journaled is the least script that writes, has an entry of a journal and tells the others.
var journaled = redis.NewScript(`
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 65536, '*', 'k', ARGV[3])
redis.call('PUBLISH', KEYS[2], ARGV[3])`)

// accessor is one node of a fleet as those who read and write see it.
type accessor struct {
	get func(key string) ([]byte, error)
	set func(key string, v []byte) error
}

// mixed has workers on several nodes read keys by Zipf and write some of them. Each fleet
// has its values in Redis and in the memory of each node, and drops what another node wrote.
func mixed(e *env) (rows []row) {
	e.turn = max(e.turn, farTurn)
	fleets := []struct {
		who   string
		nodes []accessor
	}{
		{overPubSub, e.nearbusNodes(func(c *redis.Client, fleet string) bus.Transport {
			return value(redisbus.New(c, redisbus.Options{Channel: fleet}))
		})},
		{rueidisCSC, e.rueidisNodes()},
		{byHand, e.handmadeNodes(func(client *redis.Client, prefix, key string, v []byte) error {
			_, err := client.Pipelined(e.ctx, func(pipe redis.Pipeliner) error {
				pipe.Set(e.ctx, prefix+key, v, longLife)
				pipe.Publish(e.ctx, prefix, key)
				return nil
			})
			return err
		})},
		{byScript, e.handmadeNodes(func(client *redis.Client, prefix, key string, v []byte) error {
			err := journaled.Run(e.ctx, client, []string{prefix + key, prefix}, v, longLife.Milliseconds(), key).Err()
			if errors.Is(err, redis.Nil) {
				return nil
			}
			return err
		})},
		{overNats, e.nearbusNodes(overNewNATS(e))},
	}
	o := zipf()
	for _, f := range fleets {
		e.fill(keySpace, func(key string) error { return f.nodes[0].set(key, someBytes) })
	}
	for _, mix := range []struct {
		reads                 int
		rueidis, byHand, nats float64
	}{{99, 1.5, 0.95, 0.9}, {95, 1.15, 0.95, 0.8}, {80, 0.9, 0.95, 0.75}, {50, 0.7, 0.95, 0.75}} {
		var contenders []contender
		for _, f := range fleets {
			contenders = append(contenders, readingAndWriting(f.who, f.nodes, o, mix.reads))
		}
		cells := e.compare(mixedNodes*mixedWorkers, contenders...)
		work := fmt.Sprintf("%d %% reads", mix.reads)
		cpu := onProcessors(work, cells)
		rates(cells)
		nats := cells[len(cells)-1]
		rows = append(rows,
			row{work: work, unit: perSecond, cells: cells, targets: []target{{rueidisCSC, mix.rueidis}, {byHand, mix.byHand}}},
			row{work: work + ", over NATS", unit: perSecond, cells: []cell{nats, cells[0]}, targets: []target{{overPubSub, mix.nats}}},
			cpu)
	}
	return rows
}

// readingAndWriting is a contender whose workers are spread over the nodes.
func readingAndWriting(who string, nodes []accessor, o order, reads int) contender {
	next := make([]int, callers)
	return contender{who, func(worker, n int) error {
		node := nodes[worker%len(nodes)]
		for range n {
			i := next[worker]
			next[worker]++
			key := o.key(worker, i)
			if i*37%100 >= reads { // 37 and 100 have no common divisor
				if err := node.set(key, someBytes); err != nil {
					return err
				}
				continue
			}
			if v, err := node.get(key); err != nil || !isBytes(v) {
				return errors.Join(errWrong, err)
			}
		}
		return nil
	}}
}

func overNewNATS(e *env) func(*redis.Client, string) bus.Transport {
	url := e.nats()
	return func(*redis.Client, string) bus.Transport { return value(natsbus.New(e.conn(url), natsbus.Options{})) }
}

func (e *env) nearbusNodes(transport func(*redis.Client, string) bus.Transport) (nodes []accessor) {
	fleet := e.name()
	noLoad := func(context.Context, string) ([]byte, error) { return nil, errWrong }
	for range mixedNodes {
		client := e.client()
		n := e.nodeOn(client, fleet, transport(client, fleet), nearcache.NodeOptions{NearBytes: mixedNear})
		c := value(nearcache.New(n, "bytes", nearcache.Options[[]byte]{TTL: longLife, NearTTL: longLife, Codec: shared.Raw}))
		nodes = append(nodes, accessor{
			func(key string) ([]byte, error) { return c.Fetch(e.ctx, key, noLoad) },
			func(key string, v []byte) error { return c.Set(e.ctx, key, v) },
		})
	}
	return nodes
}

// rueidisNodes have the client-side cache of rueidis, of its default size.
func (e *env) rueidisNodes() (nodes []accessor) {
	prefix := e.name() + ":"
	for range mixedNodes {
		c := value(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{e.redis()}}))
		e.atEnd(c.Close)
		nodes = append(nodes, accessor{
			func(key string) ([]byte, error) {
				return c.DoCache(e.ctx, c.B().Get().Key(prefix+key).Cache(), longLife).AsBytes()
			},
			func(key string, v []byte) error {
				return c.Do(e.ctx, c.B().Set().Key(prefix+key).Value(rueidis.BinaryString(v)).Ex(longLife).Build()).Error()
			},
		})
	}
	return nodes
}

// handmadeNodes have what is usually put together: a read that comes back after the message of
// a write leaves an old value behind.
func (e *env) handmadeNodes(write func(client *redis.Client, prefix, key string, v []byte) error) (nodes []accessor) {
	prefix := e.name() + ":"
	for range mixedNodes {
		client := e.client()
		near := value(ristretto.NewCache(&ristretto.Config[string, []byte]{NumCounters: 10 * keySpace, MaxCost: mixedNear, BufferItems: 64}))
		e.atEnd(near.Close)
		sub := client.Subscribe(e.ctx, prefix)
		e.atEnd(func() { _ = sub.Close() })
		_ = value(sub.Receive(e.ctx))
		go func() { // ends when the subscription is closed
			for {
				m, err := sub.ReceiveMessage(e.ctx)
				if err != nil {
					return
				}
				near.Del(m.Payload)
			}
		}()
		nodes = append(nodes, accessor{
			func(key string) ([]byte, error) {
				if v, ok := near.Get(key); ok {
					return v, nil
				}
				v, err := client.Get(e.ctx, prefix+key).Bytes()
				if err == nil {
					near.SetWithTTL(key, v, int64(len(v)), longLife)
				}
				return v, err
			},
			func(key string, v []byte) error { return write(client, prefix, key, v) },
		})
	}
	return nodes
}
