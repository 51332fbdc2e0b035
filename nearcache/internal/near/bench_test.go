package near_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// BenchmarkComesAndGoes is what it costs to keep a value near that an invalidation takes out
// before anybody reads it, beside the invalidation of a key that is not near.
func BenchmarkComesAndGoes(b *testing.B) {
	for _, comes := range []bool{true, false} {
		b.Run(map[bool]string{true: "near", false: "not near"}[comes], func(b *testing.B) {
			tier, err := near.New(near.Config{Bytes: 64 << 20})
			require.NoError(b, err)
			defer tier.Close()
			s := tier.Space(0)
			keys := make([]string, 1<<12)
			for i := range keys {
				keys[i] = fmt.Sprint("user:", i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				key := keys[i%len(keys)]
				v := entry(tier.Stamp(), i)
				if comes {
					install(s, key, v)
				}
				s.Invalidate(key, s.Hash(key))
			}
		})
	}
}
