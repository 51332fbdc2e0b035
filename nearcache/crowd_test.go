package nearcache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
)

// mould has the heartbeats of a node, of which those of any number of others can be made: the bytes
// from 4 on are the incarnation, and those from 21 on the name.
type mould struct {
	bus.Transport
	latest []byte
}

const mouldName = "a-name-of-20-letters"

func (m *mould) Publish(ctx context.Context, payload []byte) error {
	if payload[2] == 2 { // a heartbeat
		m.latest = bytes.Clone(payload)
	}
	return m.Transport.Publish(ctx, payload)
}

// cast returns a heartbeat of another one.
func (m *mould) cast(number int) []byte {
	payload := bytes.Clone(m.latest)
	binary.BigEndian.PutUint64(payload[4:], uint64(number)+1)
	copy(payload[21:], fmt.Sprintf("web-%016d", number))
	return payload
}

// heap returns the memory that is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestCrowd: a node that hears 1,000 others needs less than 1 MB for them, no more of it as time
// passes and others come for those that die, and no goroutine.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const others = 1000
		f := newFleet(t)
		f.journal = true
		before := runtime.NumGoroutine()
		node := f.join()
		synctest.Wait()
		t.Logf("%d goroutines of the node, its bus and a bus in memory", runtime.NumGoroutine()-before)
		hub := membus.NewHub() // of the one whose heartbeats are copied
		m := &mould{Transport: hub.Join()}
		other, err := bus.New(m, bus.Options{Node: mouldName})
		require.NoError(t, err)
		require.NoError(t, other.Subscribe(bus.Handler{Apply: func(bus.Message) {}, Gap: func(error) {}, Repairs: true}))
		other.Describe(bus.About{Tier: 1, Namespace: 2, Options: 3})
		time.Sleep(3 * time.Second)
		require.NoError(t, other.Close())
		voice := f.hub.Join()
		first := 0
		say := func(d time.Duration) {
			for range d / (3 * time.Second) {
				for i := range others {
					require.NoError(t, voice.Publish(t.Context(), m.cast(first+i)))
					if i%100 == 0 {
						synctest.Wait()
					}
				}
				time.Sleep(3 * time.Second)
			}
		}
		say(3 * time.Second)
		time.Sleep(2 * time.Minute)
		alone, goroutines := heap(), runtime.NumGoroutine()
		say(time.Minute)
		assert.Equal(t, others, node.node.Health().Peers.Heard)
		crowded := heap() - alone
		t.Logf("%d bytes for each", crowded/others)
		assert.Less(t, crowded, int64(1<<20))
		say(10 * time.Minute)
		assert.Less(t, heap()-alone, crowded+100<<10, "time has passed")
		for range 5 {
			first += others // none of those before says goodbye
			say(15 * time.Second)
		}
		say(15 * time.Minute)
		assert.Less(t, heap()-alone, crowded+100<<10, "all are others")
		assert.Equal(t, goroutines, runtime.NumGoroutine())
		assert.Equal(t, others, node.node.Health().Peers.Heard)
	})
}
