package shared_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
)

// TestTier_PeekCountsNothing: what is damaged is told and not counted, and no breaker is asked.
func TestTier_PeekCountsNothing(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	tier, err := shared.New(store, shared.Options{Attempts: 3})
	require.NoError(t, err)
	require.NoError(t, tier.Set(t.Context(), "whole", []byte("value"), time.Minute))
	store.Write(t.Context(), []driver.Write{{Key: "damaged", Image: make([]byte, driver.HeaderSize)}})
	before := tier.Stats()

	found, err := tier.Peek(t.Context(), []string{"whole", "damaged", "absent"})
	require.NoError(t, err)
	assert.Equal(t, "value", string(found[0].Value))
	assert.Equal(t, driver.HeaderSize+len("value"), found[0].Size)
	require.ErrorIs(t, found[1].Err, driver.ErrCorrupt)
	require.ErrorIs(t, found[2].Err, shared.ErrNotFound)
	assert.Equal(t, before, tier.Stats())
}

// TestTier_PeekOfCompressed: who has no decompressor sees all but the value.
func TestTier_PeekOfCompressed(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	record := driver.Record{Kind: driver.KindValue, Compression: driver.CompressionZstd, Codec: 3, Value: []byte("packed")}
	store.Write(t.Context(), []driver.Write{{Key: "key", Image: record.Append(nil), TTL: time.Minute}})
	tier, err := shared.New(store, shared.Options{})
	require.NoError(t, err)

	found, err := tier.Peek(t.Context(), []string{"key"})
	require.NoError(t, err)
	require.ErrorIs(t, found[0].Err, driver.ErrCorrupt)
	assert.EqualValues(t, 3, found[0].Codec)
	assert.Equal(t, driver.CompressionZstd, found[0].Compression)
	assert.Greater(t, found[0].Left, time.Duration(0))
	assert.Nil(t, found[0].Value)
}

func TestTier_Recall(t *testing.T) {
	t.Parallel()
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	require.NoError(t, err)
	for _, key := range []string{"a", "b:1", "a"} {
		require.NoError(t, tier.Set(t.Context(), key, []byte("value"), time.Minute))
	}
	entries, err := tier.Recall(t.Context(), "a", 2)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	assert.Equal(t, []string{"a", ":b:1"}, []string{entries[0].Key, entries[1].Key})

	without, err := shared.New(memstore.New(memstore.Options{JournalLength: -1}), shared.Options{})
	require.NoError(t, err)
	_, err = without.Recall(t.Context(), "a", 2)
	require.ErrorIs(t, err, driver.ErrNoJournal)
	require.NoError(t, tier.Close())
	_, err = tier.Recall(t.Context(), "a", 2)
	require.True(t, errors.Is(err, shared.ErrClosed))
}
