package memstore_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
	"github.com/nearbus/nearbus/shared/storetest"
)

func harness(opts memstore.Options) storetest.Harness {
	return storetest.Harness{
		New: func() (driver.Store, error) { return memstore.New(opts), nil },
		Plant: func(_ context.Context, store driver.Store, key string, data []byte) error {
			store.(*memstore.Store).Plant(key, data)
			return nil
		},
	}
}

func TestStore_Conformance(t *testing.T) {
	storetest.Run(t, harness(memstore.Options{}), true)
}

func TestStore_ConformanceWithLimit(t *testing.T) {
	storetest.Run(t, harness(memstore.Options{MaxImage: 64 << 10}), true)
}

func TestStore_ClosedStoreRefuses(t *testing.T) {
	store := memstore.New(memstore.Options{})
	r := driver.Record{Kind: driver.KindValue, Nonce: 1}
	write := driver.Write{Key: "key", Image: r.Append(nil)}
	require.NoError(t, store.Write(t.Context(), []driver.Write{write})[0].Err)
	require.NoError(t, store.Close())
	require.NoError(t, store.Close())

	_, err := store.Read(t.Context(), []string{"key"})
	assert.Equal(t, driver.ErrClosed, err)
	assert.Equal(t, driver.ErrClosed, store.Acquire(t.Context(), []driver.Lease{{Key: "key", Image: write.Image}})[0].Err)
	_, err = store.Time(t.Context())
	assert.Equal(t, driver.ErrClosed, err)
	assert.Equal(t, driver.ErrClosed, store.Write(t.Context(), []driver.Write{write})[0].Err)
	assert.Equal(t, driver.ErrClosed, store.Fill(t.Context(), []driver.Write{write})[0].Err)
}

// TestStore_FreesWhatExpired writes a thousand times as much as lives at a
// time.
func TestStore_FreesWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		before := heap()
		for i := range 5000 {
			r := driver.Record{Kind: driver.KindValue, Nonce: 1, Value: make([]byte, 10_000)}
			write := driver.Write{Key: fmt.Sprint(i), Image: r.Append(nil), TTL: 5 * time.Second}
			require.NoError(t, store.Write(t.Context(), []driver.Write{write})[0].Err)
			time.Sleep(time.Second)
		}
		assert.Less(t, heap(), before+5_000_000)
		runtime.KeepAlive(store)
	})
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestStore_RevisionsAreItsOwn(t *testing.T) {
	r := driver.Record{Kind: driver.KindValue, Nonce: 1}
	before := uint64(time.Now().UnixMicro())
	epochs := map[uint64]bool{0: true}
	for range 3 {
		write := driver.Write{Key: "key", Image: r.Append(nil)}
		receipt := memstore.New(memstore.Options{}).Write(t.Context(), []driver.Write{write})[0]
		assert.False(t, epochs[receipt.Revision.Epoch])
		epochs[receipt.Revision.Epoch] = true
		assert.GreaterOrEqual(t, receipt.Revision.Number, before, "the clock, in microseconds")
	}
}
