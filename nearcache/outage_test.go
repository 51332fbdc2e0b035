package nearcache_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outage is what the readers of a fleet met while they reached neither the shared tier nor the bus.
type outage struct {
	loads   atomic.Int64
	oldest  atomic.Int64 // age of an answer, in nanoseconds
	slowest atomic.Int64 // time that a read took
}

func raise(most *atomic.Int64, d time.Duration) {
	for old := most.Load(); int64(d) > old && !most.CompareAndSwap(old, int64(d)); old = most.Load() {
	}
}

// read reads a key of a node every 100 ms until end. The source has a new version of it all the time
// from began on, and version 0 before.
func (o *outage) read(t *testing.T, m *member, key string, began, end time.Time) {
	load := func(context.Context, string) (string, error) {
		o.loads.Add(1)
		return time.Since(began).String(), nil
	}
	for ; time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		asked := time.Now()
		v, err := m.Fetch(t.Context(), key, load)
		if !assert.NoError(t, err) {
			return
		}
		version, err := time.ParseDuration(v)
		if !assert.NoError(t, err) {
			return
		}
		raise(&o.oldest, asked.Sub(began)-version)
		raise(&o.slowest, time.Since(asked))
	}
}

// TestOutage_CostsTheSource: while the shared tier and the bus are away, each node asks the source
// for each key once in MaxStaleness, and no answer is older. It prints the table of docs/operations.md.
func TestOutage_CostsTheSource(t *testing.T) {
	const nodes, keys, minute = 3, 100, time.Minute
	t.Log("| `MaxStaleness` | calls of the source | worst age of an answer | slowest read |")
	for _, staleness := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second} {
		bubble(t, func(t *testing.T, f *fleet) {
			f.journal = true
			intervals(min(time.Second, staleness/2), staleness)(f)
			var fleet [nodes]*member
			for i := range fleet {
				fleet[i] = f.join()
				for k := range keys {
					_, err := fleet[i].Fetch(t.Context(), fmt.Sprint(k), is("0s"))
					require.NoError(t, err)
				}
			}
			wait(5 * time.Second)
			resume := f.store.stalls("read", "write", "acquire", "fill", "tail")
			o, began := &outage{}, time.Now()
			var readers sync.WaitGroup
			for _, m := range fleet {
				m.link.deaf.Store(true)
				for k := range keys {
					readers.Go(func() { o.read(t, m, fmt.Sprint(k), began, began.Add(minute)) })
				}
			}
			readers.Wait()
			wait(2 * time.Second) // calls that hang end
			resume()
			loads, most := o.loads.Load(), float64(nodes*keys)*minute.Seconds()/staleness.Seconds()
			t.Logf("| %v | %.0f/s | %.1f s | %v |", staleness, float64(loads)/minute.Seconds(), time.Duration(o.oldest.Load()).Seconds(),
				time.Duration(o.slowest.Load()).Round(time.Millisecond))
			assert.InDelta(t, most, loads, most/5)
			assert.InDelta(t, staleness.Seconds(), time.Duration(o.oldest.Load()).Seconds(), 0.1)
		})
	}
}
