package simredis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/simulate/simredis"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// BenchmarkStore has the driver call one server one call after the other.
func BenchmarkStore(b *testing.B) {
	value := make([]byte, 200)
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	image := func(kind shared.Kind, value []byte) []byte {
		r := shared.Record{Kind: kind, Nonce: shared.NewNonce(), Value: value}
		return r.Append(nil)
	}
	for name, call := range map[string]func(b *testing.B, store *redisstore.Store, i int) error{
		"write": func(b *testing.B, store *redisstore.Store, i int) error {
			return store.Write(b.Context(), []shared.Write{{Key: keys[i%len(keys)], Image: image(shared.KindValue, value), TTL: time.Minute}})[0].Err
		},
		"acquire": func(b *testing.B, store *redisstore.Store, i int) error {
			return store.Acquire(b.Context(), []shared.Lease{{Key: keys[i%len(keys)], Image: image(shared.KindLease, nil), TTL: time.Minute}})[0].Err
		},
		"tail": func(b *testing.B, store *redisstore.Store, _ int) error {
			return store.Tail(b.Context(), []shared.TailRead{{Limit: 10}})[0].Err
		},
		"read": func(b *testing.B, store *redisstore.Store, i int) error {
			_, err := store.Read(b.Context(), keys[i%len(keys):][:1])
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			server := newServer(b, simredis.Options{})
			store, err := redisstore.New(newClient(b, server), redisstore.Options{})
			require.NoError(b, err)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				require.NoError(b, call(b, store, i))
			}
		})
	}
}
