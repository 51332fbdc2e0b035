package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
)

const (
	hearers       = 3                      // beside the writer, who hears as well
	deliveryPause = 500 * time.Microsecond // between two writes
)

// delivery measures how long it takes until the last of three others has heard
// of a write: with this library, until it has dropped what it had; beside it, a
// pipeline of SET and XADD and then the message alone. On Redis the message is
// in the pipeline.
func delivery(e *env) []row {
	var rows []row
	for _, t := range []struct {
		name string
		open func(*env) (ours, raw *courier)
	}{{"Redis pub/sub", overRedis}, {"NATS", overNATS}, {"JetStream", overJetStream}} {
		ours, raw := t.open(e)
		for _, c := range []*courier{ours, raw} {
			c.run(100) // warms up
			c.began, c.acked = nil, nil
		}
		for range e.rounds {
			ours.run(500)
			raw.run(500)
		}
		for _, q := range []struct {
			name  string
			at    float64
			limit float64
		}{{"p50", 0.5, 1.25}, {"p99", 0.99, 1.5}} {
			rows = append(rows,
				row{
					work: t.name + ", from the beginning of the write, " + q.name, unit: microseconds,
					cells:   []cell{ours.quantiles("nearbus", ours.began, q.at), raw.quantiles("raw", raw.began, q.at)},
					targets: []target{{"raw", q.limit}},
				},
				row{
					work: t.name + ", from its acknowledgement, " + q.name, unit: microseconds,
					cells: []cell{ours.quantiles("nearbus", ours.acked, q.at), raw.quantiles("raw", raw.acked, q.at)},
				})
		}
	}
	return rows
}

// courier is one way to tell others of a write.
type courier struct {
	write   func(key string) error
	arrived chan string // keys, as each of the others hears of them
	n       int

	// By round: microseconds from the beginning and from the acknowledgement
	// of a write to when the last has heard.
	began, acked [][]float64
}

func newCourier() *courier { return &courier{arrived: make(chan string, 100)} }

func (c *courier) run(times int) {
	began, acked := make([]float64, times), make([]float64, times)
	for i := range times {
		time.Sleep(deliveryPause)
		began[i], acked[i] = c.once()
	}
	c.began, c.acked = append(c.began, began), append(c.acked, acked)
}

func (c *courier) once() (began, acked float64) {
	c.n++
	key := "key-" + strconv.Itoa(c.n%1000) + "."
	last := make(chan time.Time, 1)
	go func() {
		for heard := 0; heard < hearers; {
			if k := <-c.arrived; k == key {
				heard++
			}
		}
		last <- time.Now()
	}()
	start := time.Now()
	must(c.write(key))
	answered := time.Now()
	select {
	case at := <-last:
		return micros(at.Sub(start)), max(0, micros(at.Sub(answered)))
	case <-time.After(10 * time.Second):
		must(fmt.Errorf("waited in vain for %s", key))
		return 0, 0
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// hear is called for each subscriber; the first is the writer itself.
func (c *courier) hear(i int, key string) {
	if i > 0 {
		c.arrived <- key
	}
}

// quantiles returns a quantile of each round.
func (c *courier) quantiles(who string, rounds [][]float64, q float64) cell {
	out := cell{who: who}
	for _, took := range rounds {
		took = slices.Sorted(slices.Values(took))
		out.samples = append(out.samples, took[int(q*float64(len(took)-1))])
	}
	return out
}

// listening tells when a payload that names a key was applied.
type listening struct {
	bus.Transport
	to *courier
}

func (t *listening) Receive(ctx context.Context, sink bus.Sink) error {
	deliver := sink.Deliver
	sink.Deliver = func(payload []byte) {
		deliver(payload)
		if at := bytes.Index(payload, []byte("key-")); at >= 0 {
			end := bytes.IndexByte(payload[at:], '.')
			t.to.arrived <- string(payload[at : at+end+1])
		}
	}
	return t.Transport.Receive(ctx, sink)
}

// ours has one node write, and others over transports of their own hear.
func (e *env) ours(transport func(*redis.Client, string) bus.Transport) *courier {
	c, fleet := newCourier(), e.name()
	for i := range hearers + 1 {
		client := e.client()
		t := transport(client, fleet)
		if i > 0 {
			t = &listening{t, c}
		}
		n := e.nodeOn(client, fleet, t, nearcache.NodeOptions{})
		users := value(nearcache.New(n, "users", nearcache.Options[user]{}))
		if i == 0 {
			c.write = func(key string) error { return users.Set(e.ctx, key, someUser) }
		}
	}
	return c
}

// store writes as Set does, without a message.
func (e *env) store(pipe redis.Pipeliner, name, key string) {
	pipe.Set(e.ctx, name+key, encodedUser, 5*time.Minute)
	pipe.XAdd(e.ctx, &redis.XAddArgs{Stream: name, MaxLen: 1 << 16, Approx: true, Values: []string{"k", key}})
}

func overRedis(e *env) (ours, raw *courier) {
	ours = e.ours(func(c *redis.Client, fleet string) bus.Transport {
		return value(redisbus.New(c, redisbus.Options{Channel: fleet}))
	})
	raw = newCourier()
	channel := e.name()
	for i := range hearers + 1 {
		sub := e.client().Subscribe(e.ctx, channel)
		e.atEnd(func() { _ = sub.Close() })
		_ = value(sub.Receive(e.ctx))
		go func() { // ends when the subscription is closed
			for {
				m, err := sub.ReceiveMessage(e.ctx)
				if err != nil {
					return
				}
				raw.hear(i, m.Payload)
			}
		}()
	}
	client := e.client()
	raw.write = func(key string) error {
		_, err := client.Pipelined(e.ctx, func(pipe redis.Pipeliner) error {
			e.store(pipe, channel+":", key)
			pipe.Publish(e.ctx, channel, key)
			return nil
		})
		return err
	}
	return ours, raw
}

func (e *env) conn(url string) *nats.Conn {
	c := value(nats.Connect(url, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort()))
	e.atEnd(c.Close)
	return c
}

func overNATS(e *env) (ours, raw *courier) {
	url, subject := e.nats(), e.name()
	ours = e.ours(func(*redis.Client, string) bus.Transport {
		return value(natsbus.New(e.conn(url), natsbus.Options{}))
	})
	raw = newCourier()
	for i := range hearers + 1 {
		c := e.conn(url)
		_ = value(c.Subscribe(subject, func(m *nats.Msg) { raw.hear(i, string(m.Data)) }))
		must(c.Flush())
	}
	client, c := e.client(), e.conn(url)
	raw.write = func(key string) error {
		_, err := client.Pipelined(e.ctx, func(pipe redis.Pipeliner) error {
			e.store(pipe, subject+":", key)
			return nil
		})
		// The flush says that the server has it.
		return errors.Join(err, c.Publish(subject, []byte(key)), c.Flush())
	}
	return ours, raw
}

func overJetStream(e *env) (ours, raw *courier) {
	url, name := e.nats(servers.JetStream), e.name()
	ours = e.ours(func(*redis.Client, string) bus.Transport {
		return value(natsbus.NewStream(e.ctx, e.conn(url), natsbus.StreamOptions{}))
	})
	raw = newCourier()
	js := value(jetstream.New(e.conn(url)))
	stream := value(js.CreateStream(e.ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}}))
	for i := range hearers + 1 {
		consumer := value(stream.OrderedConsumer(e.ctx, jetstream.OrderedConsumerConfig{}))
		consuming := value(consumer.Consume(func(m jetstream.Msg) { raw.hear(i, string(m.Data())) }))
		e.atEnd(consuming.Stop)
	}
	client := e.client()
	raw.write = func(key string) error {
		_, err := client.Pipelined(e.ctx, func(pipe redis.Pipeliner) error {
			e.store(pipe, name+":", key)
			return nil
		})
		if err != nil {
			return err
		}
		_, err = js.Publish(e.ctx, name, []byte(key))
		return err
	}
	return ours, raw
}
