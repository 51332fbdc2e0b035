package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

const (
	deliveryNodes = 3
	deliveryPause = 500 * time.Microsecond // between two writes, so that no queue builds up
)

// BenchmarkDelivery measures the time from the beginning of a write to when the
// last of three others has applied it, and beside it from the beginning of a SET
// and a publication to when the last of three subscribers has the message: the
// p50 and p99 of each, and their ratios. Whoever writes is subscribed as well, as
// each server of a fleet is.
func BenchmarkDelivery(b *testing.B) {
	for name, open := range map[string]func(b *testing.B) (ours, raw *delivery){
		"Redis": deliverOverRedis, "NATS": deliverOverNATS, "JetStream": deliverOverJetStream,
	} {
		b.Run(name, func(b *testing.B) {
			ours, raw := open(b)
			for b.Loop() {
				for range 500 {
					ours.once(b)
					raw.once(b)
				}
			}
			b.ReportMetric(0, "ns/op")
			for _, q := range []struct {
				name string
				at   float64
			}{{"p50", 0.5}, {"p99", 0.99}} {
				mine, theirs := ours.quantile(q.at), raw.quantile(q.at)
				b.ReportMetric(mine, q.name+"-nearbus-us")
				b.ReportMetric(theirs, q.name+"-raw-us")
				b.ReportMetric(mine/theirs, q.name+"-x")
			}
		})
	}
}

// delivery is one way to tell three others of a write.
type delivery struct {
	write   func(key string) error
	arrived chan string // keys, as each of the others hears of them
	n       int
	took    []float64 // microseconds
}

func newDelivery() *delivery { return &delivery{arrived: make(chan string, 100)} }

func (d *delivery) once(b *testing.B) {
	time.Sleep(deliveryPause)
	d.n++
	key := "key-" + strconv.Itoa(d.n%1000) + "."
	began := time.Now()
	mustBe(b, true, d.write(key))
	for heard := 0; heard < deliveryNodes; {
		select {
		case k := <-d.arrived:
			if k == key {
				heard++
			}
		case <-time.After(10 * time.Second):
			b.Fatal("in vain waited for ", key)
		}
	}
	d.took = append(d.took, float64(time.Since(began).Nanoseconds())/1e3)
}

// hear is called for each subscriber; the first is the writer itself.
func (d *delivery) hear(i int, key string) {
	if i > 0 {
		d.arrived <- key
	}
}

func (d *delivery) quantile(q float64) float64 {
	slices.Sort(d.took)
	return d.took[int(q*float64(len(d.took)-1))]
}

// listeningTransport tells when a payload that names a key was applied.
type listeningTransport struct {
	bus.Transport
	to *delivery
}

func (t *listeningTransport) Receive(ctx context.Context, sink bus.Sink) error {
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

// ourDelivery has one node write, and others over transports of their own hear.
func ourDelivery(b *testing.B, client func() *redis.Client, transport func(*redis.Client) bus.Transport) *delivery {
	d, name := newDelivery(), uniqueName()
	for i := range deliveryNodes + 1 {
		c := client()
		tier, err := shared.New(redisStoreOf(b, c, name), shared.Options{})
		require.NoError(b, err)
		t := transport(c)
		if i > 0 {
			t = &listeningTransport{t, d}
		}
		wire, err := bus.New(t, bus.Options{})
		require.NoError(b, err)
		node, err := nearcache.NewNode(tier, wire, nearcache.NodeOptions{})
		require.NoError(b, err)
		b.Cleanup(func() { _ = node.Close(); _ = wire.Close() })
		users, err := nearcache.New(node, "users", nearcache.Options[user]{})
		require.NoError(b, err)
		require.Eventually(b, func() bool { return !node.Stats().BusCut }, 10*time.Second, time.Millisecond)
		if i == 0 {
			d.write = func(key string) error { return users.Set(b.Context(), key, someUser) }
		}
	}
	return d
}

func encoded(b *testing.B) []byte {
	data, err := json.Marshal(someUser)
	require.NoError(b, err)
	return data
}

func deliverOverRedis(b *testing.B) (ours, raw *delivery) {
	addr, channel, name := servers.Redis(b).Addr, uniqueName(), uniqueName()
	ours = ourDelivery(b, func() *redis.Client { return newRedis(b, addr) }, func(c *redis.Client) bus.Transport {
		t, err := redisbus.New(c, redisbus.Options{Channel: name})
		require.NoError(b, err)
		return t
	})
	raw = newDelivery()
	for i := range deliveryNodes + 1 {
		sub := newRedis(b, addr).Subscribe(b.Context(), channel)
		b.Cleanup(func() { _ = sub.Close() })
		_, err := sub.Receive(b.Context())
		require.NoError(b, err)
		go func() { // ends when the subscription is closed
			for {
				m, err := sub.ReceiveMessage(b.Context())
				if err != nil {
					return
				}
				raw.hear(i, m.Payload)
			}
		}()
	}
	client, data := newRedis(b, addr), encoded(b)
	raw.write = func(key string) error {
		_, err := client.Pipelined(b.Context(), func(pipe redis.Pipeliner) error {
			pipe.Set(b.Context(), channel+key, data, 5*time.Minute)
			pipe.Publish(b.Context(), channel, key)
			return nil
		})
		return err
	}
	return ours, raw
}

func benchNATS(b *testing.B, url string) *nats.Conn {
	nc, err := nats.Connect(url)
	require.NoError(b, err)
	b.Cleanup(nc.Close)
	return nc
}

func deliverOverNATS(b *testing.B) (ours, raw *delivery) {
	addr, url, subject := servers.Redis(b).Addr, servers.NATS(b).URL, uniqueName()
	ours = ourDelivery(b, func() *redis.Client { return newRedis(b, addr) }, func(*redis.Client) bus.Transport {
		t, err := natsbus.New(benchNATS(b, url), natsbus.Options{})
		require.NoError(b, err)
		return t
	})
	raw = newDelivery()
	var subscribed sync.WaitGroup
	for i := range deliveryNodes + 1 {
		nc := benchNATS(b, url)
		_, err := nc.Subscribe(subject, func(m *nats.Msg) { raw.hear(i, string(m.Data)) })
		require.NoError(b, err)
		subscribed.Go(func() { _ = nc.Flush() })
	}
	subscribed.Wait()
	client, data, nc := newRedis(b, addr), encoded(b), benchNATS(b, url)
	raw.write = func(key string) error {
		if err := client.Set(b.Context(), subject+key, data, 5*time.Minute).Err(); err != nil {
			return err
		}
		if err := nc.Publish(subject, []byte(key)); err != nil {
			return err
		}
		return nc.Flush() // says that the server has it
	}
	return ours, raw
}

func deliverOverJetStream(b *testing.B) (ours, raw *delivery) {
	addr, url := servers.Redis(b).Addr, servers.NATS(b, servers.JetStream).URL
	ours = ourDelivery(b, func() *redis.Client { return newRedis(b, addr) }, func(*redis.Client) bus.Transport {
		t, err := natsbus.NewStream(b.Context(), benchNATS(b, url), natsbus.StreamOptions{})
		require.NoError(b, err)
		return t
	})
	raw = newDelivery()
	js, err := jetstream.New(benchNATS(b, url))
	require.NoError(b, err)
	const name = "raw"
	stream, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}})
	require.NoError(b, err)
	for i := range deliveryNodes + 1 {
		consumer, err := stream.OrderedConsumer(b.Context(), jetstream.OrderedConsumerConfig{})
		require.NoError(b, err)
		consuming, err := consumer.Consume(func(m jetstream.Msg) { raw.hear(i, string(m.Data())) })
		require.NoError(b, err)
		b.Cleanup(consuming.Stop)
	}
	client, data := newRedis(b, addr), encoded(b)
	raw.write = func(key string) error {
		if err := client.Set(b.Context(), name+key, data, 5*time.Minute).Err(); err != nil {
			return err
		}
		_, err := js.Publish(b.Context(), name, []byte(key))
		return err
	}
	return ours, raw
}
