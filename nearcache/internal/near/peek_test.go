package near_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// TestPeek: what it says is what Find and FindLate do, and no hit, counter or claim changes.
func TestPeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier, err := near.New(near.Config{Bytes: 1 << 20, Partitions: 1, MaxStaleness: time.Second})
		require.NoError(t, err)
		defer tier.Close()
		s := tier.Space(0)
		tier.Confirm(0, tier.Now())
		plain, kept, absent := entry(tier.Stamp(), 1), entry(tier.Stamp(), 2), entry(tier.Stamp(), 3)
		kept.Extend(&near.Extra{Fresh: 20 * time.Second, Keep: time.Minute})
		absent.Extend(&near.Extra{Absent: true})
		all := map[string]*value{"plain": plain, "kept": kept, "absent": absent}
		for key, v := range all {
			v.FromShared = true
			require.True(t, s.Install(key, s.Hash(key), v.of(key), 30*time.Second, false))
		}
		agrees := func(when string) {
			t.Helper()
			before := tier.Stats()
			for key, v := range all {
				p := s.Peek(key, s.Hash(key))
				if p.Entry != nil { // what ended is swept
					require.Same(t, &v.Entry, p.Entry)
				}
				assert.Equal(t, before, tier.Stats(), "%s, %s", when, key)
				assert.Zero(t, v.Hits())
				found := s.Find(key, s.Hash(key)) != nil
				assert.Equal(t, found, p.Hit, "%s, %s", when, key)
				if _, use := s.FindLate(key, s.Hash(key)); !found {
					assert.Equal(t, use, p.Use, "%s, %s", when, key)
				}
				before = tier.Stats() // a look in vain may count
			}
		}
		agrees("at first")
		time.Sleep(2 * time.Second)
		agrees("not trusted any more")
		tier.Confirm(0, tier.Now())
		agrees("trusted again")
		time.Sleep(23 * time.Second)
		tier.Confirm(0, tier.Now())
		agrees("late")
		time.Sleep(10 * time.Second)
		tier.Confirm(0, tier.Now())
		agrees("at the end of their lives")
		assert.Nil(t, s.Peek("none", s.Hash("none")).Entry)
	})
}
