package memcachestore_test

import (
	"context"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
)

// newStore returns a store whose client has no server, and fails if asked.
func newStore(t testing.TB, opts memcachestore.Options) *memcachestore.Store {
	store, err := memcachestore.New(memcache.New(), opts)
	require.NoError(t, err)
	return store
}

func TestNew_RefusesNil(t *testing.T) {
	_, err := memcachestore.New(nil, memcachestore.Options{})
	require.EqualError(t, err, "memcachestore: New: the client is nil")
}

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		opts memcachestore.Options
		want string // part of the error; empty: none
	}{
		"zero value":             {memcachestore.Options{}, ""},
		"namespace":              {memcachestore.Options{Namespace: "shop-staging"}, ""},
		"odd namespace":          {memcachestore.Options{Namespace: "a:b"}, `Options.Namespace: namespace "a:b": want 1 to 64 of`},
		"namespace and prefix":   {memcachestore.Options{Namespace: "a", Prefix: "b"}, `Options.Namespace "a" and Options.Prefix "b" exclude each other`},
		"longest prefix":         {memcachestore.Options{Prefix: strings.Repeat("p", 185)}, ""},
		"prefix too long":        {memcachestore.Options{Prefix: strings.Repeat("p", 186)}, "Options.Prefix has 186 bytes"},
		"prefix with space":      {memcachestore.Options{Prefix: "a b"}, `Options.Prefix "a b"`},
		"prefix with line end":   {memcachestore.Options{Prefix: "a\r\nb"}, `Options.Prefix "a\r\nb"`},
		"prefix not ASCII":       {memcachestore.Options{Prefix: "é"}, `Options.Prefix "é"`},
		"prefix with colon":      {memcachestore.Options{Prefix: "a:b"}, `Options.Prefix "a:b"`},
		"smallest item":          {memcachestore.Options{MaxItem: 1 << 10}, ""},
		"item too small":         {memcachestore.Options{MaxItem: 1<<10 - 1}, "Options.MaxItem is 1023"},
		"item negative":          {memcachestore.Options{MaxItem: -1}, "Options.MaxItem is -1"},
		"largest item":           {memcachestore.Options{MaxItem: 1 << 30}, ""},
		"item too large to have": {memcachestore.Options{MaxItem: 1<<30 + 1}, "Options.MaxItem is 1073741825"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := memcachestore.New(memcache.New(), c.opts)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "memcachestore: "+c.want)
		})
	}
}

func TestMaxImage_LeavesRoomForTheItem(t *testing.T) {
	assert.Equal(t, 1<<20-309, newStore(t, memcachestore.Options{}).MaxImage())
	assert.Equal(t, 8<<20-309, newStore(t, memcachestore.Options{MaxItem: 8 << 20}).MaxImage())
}

func TestName(t *testing.T) {
	const hashOfSpace = "nearbus!36a9e7f1c95b82ffb99743e0c5c4ce95d83c9a430aac59f84ef3cbfab6145068"
	store := newStore(t, memcachestore.Options{})
	for name, c := range map[string]struct{ key, want string }{
		"plain":                 {"users:42", "nearbus:users:42"},
		"punctuation":           {"~!@#{}", "nearbus:~!@#{}"},
		"space":                 {" ", hashOfSpace},
		"longest that is plain": {strings.Repeat("k", 242), "nearbus:" + strings.Repeat("k", 242)},
		"like a hashed name":    {hashOfSpace, "nearbus:" + hashOfSpace},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, memcachestore.Name(store, c.key)) })
	}
	for name, key := range map[string]string{
		"one byte too long": strings.Repeat("k", 243),
		"longest":           strings.Repeat("k", driver.MaxKeySize),
		"line end":          "a\r\n",
		"nul":               "\x00",
		"delete":            "\x7f",
		"not UTF-8":         "\xff",
		"not ASCII":         "käse",
	} {
		t.Run(name, func(t *testing.T) {
			assert.Regexp(t, "^nearbus![0-9a-f]{64}$", memcachestore.Name(store, key))
		})
	}
}

func TestExpiration(t *testing.T) {
	now := time.Unix(1_800_000_000, 999)
	const month = 30 * 24 * time.Hour
	for name, c := range map[string]struct {
		ttl  time.Duration
		want int32
	}{
		"none":                     {0, 0},
		"negative":                 {-time.Second, 0},
		"shortest":                 {1, 2},
		"below a second":           {100 * time.Millisecond, 2},
		"a second":                 {time.Second, 2},
		"fraction":                 {1500 * time.Millisecond, 3},
		"longest that is relative": {month - time.Second, 2_592_000},
		"30 days":                  {month, 1_800_000_000 + 2_592_001},
		"a year":                   {365 * 24 * time.Hour, 1_800_000_000 + 31_536_001},
		"last second of int32":     {(math.MaxInt32 - 1_800_000_001) * time.Second, math.MaxInt32},
		"past int32":               {(math.MaxInt32 - 1_800_000_000) * time.Second, 0},
		"longest":                  {math.MaxInt64, 0},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, memcachestore.Expiration(c.ttl, now)) })
	}
}

// TestStore_SendsNothing shows what is refused before a server is asked: the
// client has none, so that its error would show.
func TestStore_SendsNothing(t *testing.T) {
	store := newStore(t, memcachestore.Options{MaxItem: 1 << 10})
	record := driver.Record{Kind: driver.KindValue, Nonce: 1}
	write := func(ctx context.Context, notAfter time.Time, image []byte) error {
		return store.Write(ctx, []driver.Write{{Key: "k", Image: image, NotAfter: notAfter}})[0].Err
	}
	past := time.Now().Add(-time.Millisecond)

	require.ErrorIs(t, write(t.Context(), time.Time{}, record.Append(nil)), memcache.ErrNoServers)
	require.ErrorIs(t, write(t.Context(), past, record.Append(nil)), driver.ErrTooLate)
	lease := driver.Lease{Key: "k", Image: record.Append(nil), NotAfter: past}
	require.ErrorIs(t, store.Acquire(t.Context(), []driver.Lease{lease})[0].Err, driver.ErrTooLate)
	require.ErrorIs(t, write(t.Context(), time.Time{}, make([]byte, store.MaxImage()+1)), driver.ErrTooLarge)

	// Where a server and a context that has ended could both be had.
	dialling := memcache.New("127.0.0.1:1")
	dialling.DialContext = func(context.Context, string, string) (net.Conn, error) {
		t.Error("a request is sent")
		return nil, net.ErrClosed
	}
	store, err := memcachestore.New(dialling, memcachestore.Options{})
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 64 { // a connection is free as well, and either may be taken
		require.ErrorIs(t, write(ended, time.Time{}, record.Append(nil)), context.Canceled)
	}
	_, err = store.Read(ended, []string{"k"})
	require.ErrorIs(t, err, context.Canceled)
	_, err = store.Read(ended, []string{"k", "l"})
	require.ErrorIs(t, err, context.Canceled)
	_, err = store.Time(ended)
	require.ErrorIs(t, err, context.Canceled)
}
