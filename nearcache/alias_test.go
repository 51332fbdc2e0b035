package nearcache_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/heapsize"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/compress"
	"github.com/nearbus/nearbus/shared/driver"
)

// handed is a store that remembers the images that it gave and was given.
type handed struct {
	driver.Store

	mu             sync.Mutex
	given, written [][]byte
}

func (h *handed) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, err := h.Store.Read(ctx, keys)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.given = append(h.given, images...)
	return images, err
}

func (h *handed) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	h.mu.Lock()
	for i := range writes {
		h.written = append(h.written, writes[i].Image)
	}
	h.mu.Unlock()
	return h.Store.Write(ctx, writes)
}

// within reports whether v is memory of one of the images.
func within(v string, images [][]byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.StringData(v)))
	for _, image := range images {
		if begin := uintptr(unsafe.Pointer(unsafe.SliceData(image))); at >= begin && at < begin+uintptr(len(image)) {
			return true
		}
	}
	return false
}

// TestAlias_Read: a large value is made of what was read, and a small one is not. Another codec
// that copies does so.
func TestAlias_Read(t *testing.T) {
	for name, c := range map[string]struct {
		codec shared.Codec
		size  int
		alias bool
	}{
		"large":              {shared.Raw, 16 << 10, true},
		"small":              {shared.Raw, 16<<10 - 1, false},
		"of a copying codec": {shared.JSON, 60 << 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				opts := nearcache.Options[string]{Codec: c.codec}
				store := &handed{Store: f.store.forNode(f)}
				a, b := f.join(opts), f.joinOver(store, opts)
				want := strings.Repeat("v", c.size)
				require.NoError(t, a.Set(t.Context(), "k", want))
				settle()
				for range 2 {
					v, err := b.Get(t.Context(), "k")
					require.NoError(t, err)
					assert.Equal(t, want, v)
					assert.Equal(t, c.alias, within(v, store.given))
				}
			})
		})
	}
}

// TestAlias_Charge: what is near is charged for the whole of what was read, unless the options
// say what it costs.
func TestAlias_Charge(t *testing.T) {
	const size = 32 << 10 // with the header, it takes the next size of memory
	whole := heapsize.Piece(size+driver.HeaderSize+2, false)
	require.Greater(t, whole, int64(size))
	for name, c := range map[string]struct {
		opts nearcache.Options[string]
		tier shared.Options
		want int64
	}{
		"plain":      {nearcache.Options[string]{}, shared.Options{}, whole},
		"compressed": {nearcache.Options[string]{}, shared.Options{Compress: compress.S2()}, size},
		"by options": {nearcache.Options[string]{Cost: func(string) int64 { return 1 }}, shared.Options{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				c.opts.Codec, f.tierOpts = shared.Raw, c.tier
				a, b := f.join(c.opts), f.join(c.opts)
				require.NoError(t, a.Set(t.Context(), "k", strings.Repeat("v", size)))
				settle()
				before := b.node.Stats().Near.Bytes
				_, err := b.Get(t.Context(), "k")
				require.NoError(t, err)
				assert.InDelta(t, c.want, b.node.Stats().Near.Bytes-before, 512)
			})
		})
	}
}

// TestAlias_OldValues: the old value that a loader is given, and may change, is not what others
// get as a stale answer, nor what was read.
func TestAlias_OldValues(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := keeping
		opts.Codec = shared.Raw
		store := &handed{Store: f.store.forNode(f)}
		a, b := f.join(opts), f.joinOver(store, opts)
		require.NoError(t, a.Set(t.Context(), "k", strings.Repeat("v", 60<<10)))
		settle()
		require.NoError(t, a.Invalidate(t.Context(), "k"))
		settle()
		var given string
		stale, err := b.FetchEntry(t.Context(), "k", func(_ context.Context, _ string, old *string) (nearcache.Loaded[string], error) {
			if assert.NotNil(t, old) {
				given = *old
			}
			return nearcache.Loaded[string]{}, errNoLoad
		})
		require.NoError(t, err)
		require.Len(t, stale, 60<<10)
		require.Len(t, given, 60<<10)
		assert.False(t, within(given, store.given))
		assert.False(t, within(stale, store.given))
		assert.NotSame(t, unsafe.StringData(given), unsafe.StringData(stale))
	})
}

// TestAlias_Clone: each caller has a value of its own also if what is near was not copied.
func TestAlias_Clone(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		opts := nearcache.Options[string]{Codec: shared.Raw, Clone: strings.Clone}
		store := &handed{Store: f.store.forNode(f)}
		a, b := f.join(opts), f.joinOver(store, opts)
		require.NoError(t, a.Set(t.Context(), "k", strings.Repeat("v", 60<<10)))
		settle()
		first, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		second, err := b.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.NotSame(t, unsafe.StringData(first), unsafe.StringData(second))
		assert.False(t, within(first, store.given) || within(second, store.given))
	})
}

// TestAlias_Write: what a store is given, and may still be sending when the caller has left, is no
// memory of the value.
func TestAlias_Write(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		store := &handed{Store: f.store.forNode(f)}
		m := f.joinOver(store, nearcache.Options[string]{Codec: shared.Raw, TTL: time.Minute})
		v := strings.Repeat("v", 60<<10)
		require.NoError(t, m.Set(t.Context(), "k", v))
		require.NoError(t, m.SetMany(t.Context(), map[string]string{"a": v, "b": v}))
		require.NotEmpty(t, store.written)
		assert.False(t, within(v, store.written))
	})
}
