package near_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/internal/near"
)

// neighbours returns keys of one stripe.
func neighbours(s *near.Space, n int) (keys []string) {
	for i := 0; len(keys) < n; i++ { // the stripes, 4,096 at most, go by the last bits
		if key := fmt.Sprint(i); s.Hash(key)&0xfff == 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

func TestStripe_WhatIsInvalidatedDuringALoadFencesNoOthers(t *testing.T) {
	tier := newTier(t, near.Config{Bytes: 64 << 10})
	s := tier.Space(0)
	keys := neighbours(s, 18)
	loaded, others := keys[0], keys[1:]
	v := entry(tier.Stamp(), 1)
	for range 3 {
		for _, key := range others {
			s.Invalidate(key, s.Hash(key))
		}
	}
	assert.True(t, install(s, loaded, v))
	assert.False(t, install(s, others[0], entry(near.Stamp{}, 1)))
}

// TestStripe_ABatchIsKept: the keys of a batch begin together, and each finishes although
// its neighbours did before.
func TestStripe_ABatchIsKept(t *testing.T) {
	tier := newTier(t, near.Config{Bytes: 64 << 10})
	s := tier.Space(0)
	keys := neighbours(s, 17)
	writes := map[string]*near.Write{}
	for _, key := range keys {
		writes[key] = s.Begin(key, s.Hash(key))
	}
	for i, key := range keys {
		require.True(t, writes[key].Finish(written(1, i).of(key), time.Minute), i)
	}
	for i, key := range keys {
		assert.Equal(t, i, get(s, key))
	}
}

// TestStripe_NoMarkFalls compares with marks of which each is kept for good.
func TestStripe_NoMarkFalls(t *testing.T) {
	tier := newTier(t, near.Config{Bytes: 64 << 10})
	s := tier.Space(0)
	keys := neighbours(s, 30)
	r := rand.New(rand.NewPCG(1, 2))
	valid := 0
	for range 5000 {
		stamp := tier.Stamp()
		since := map[string]bool{}
		for range r.IntN(26) {
			key := keys[r.IntN(len(keys))]
			since[key] = true
			s.Invalidate(key, s.Hash(key))
		}
		for _, key := range keys {
			switch ok := s.Valid(s.Hash(key), stamp); {
			case since[key]:
				require.False(t, ok, "it was invalidated since")
			case ok:
				valid++
			}
		}
	}
	assert.Greater(t, valid, 5000*len(keys)/4)
}
