package integration_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearbus/nearbus/integration/servers"
)

// BenchmarkReads_BesideCallersInAHurry has 4 patient callers read beside 32 who give up
// after less than 0.6 ms, in turns by the client alone and by the store. It reports the
// reads of the patient ones in a second.
func BenchmarkReads_BesideCallersInAHurry(b *testing.B) {
	server := servers.Redis(b)
	bare, client := newRedis(b, server.Addr), newRedis(b, server.Addr)
	store := redisStoreOf(b, client, uniqueName())
	reads := map[string]func(ctx context.Context) error{
		"client": func(ctx context.Context) error { _, err := bare.MGet(ctx, "k").Result(); return err },
		"store":  func(ctx context.Context) error { _, err := store.Read(ctx, []string{"k"}); return err },
	}
	for range 3 {
		for _, who := range []string{"client", "store"} {
			b.Run(who, func(b *testing.B) {
				b.ReportMetric(float64(patientReads(b.Context(), reads[who])), "reads/s")
			})
		}
	}
}

func patientReads(ctx context.Context, read func(context.Context) error) int64 {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var done atomic.Int64
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for ctx.Err() == nil {
				short, cancel := context.WithTimeout(ctx, rand.N(600*time.Microsecond))
				_ = read(short)
				cancel()
			}
		})
	}
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if read(ctx) == nil {
					done.Add(1)
				}
			}
		})
	}
	callers.Wait()
	return done.Load()
}
