package integration_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// TestRights_WhatOneLacksHarmsNoOther: a node whose user lacks a right fails by itself.
// The journal goes on for the others, and what they stored is there.
func TestRights_WhatOneLacksHarmsNoOther(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	admin := newRedis(t, server.Addr)
	all := together(storeRights, journalRights)
	for _, right := range all {
		t.Run("without"+right, func(t *testing.T) {
			opts := redisstore.Options{Prefix: uniqueName()}
			r := newReader(t, journalOn(t, admin, opts))
			r.set("a", "clock")
			watermark := driver.Record{Kind: driver.KindWatermark, Nonce: driver.NewNonce(), Clock: 7}
			require.NoError(t, putRecord(t.Context(), r.store, "clock", watermark.Append(nil)))
			r.goesOn("a", "clock", "clock")

			name := "lacks" + right[1:]
			allow(t, admin, name, opts.Prefix, "", slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == right }))
			poor := journalOn(t, as(t, server.Addr, name, secret, nil), opts)
			// What of this fails depends on the right.
			_ = tailOf(t, poor, driver.Position{}, 1)
			lease := driver.Record{Kind: driver.KindLease, Nonce: 4}
			_ = poor.Acquire(t.Context(), []driver.Lease{{Key: "x", Image: lease.Append(nil), TTL: time.Minute}})
			_ = poor.Fill(t.Context(), []driver.Write{{Key: "x", Image: value(4, "v"), TTL: time.Minute}})
			_ = putRecord(t.Context(), poor, "b", value(driver.NewNonce(), "v"))
			watermark.Nonce, watermark.Clock = driver.NewNonce(), 6
			_ = putRecord(t.Context(), poor, "clock", watermark.Append(nil))
			_ = tailOf(t, poor, r.at, 1)
			require.False(t, r.read().Reset, "the journal is deleted for all")
			assert.EqualValues(t, 7, recordOf(t, r.store, "clock").Clock, "the higher one stays")
			r.set("c")
			r.goesOn("c")
		})
	}
}

// TestRedisJournal_Broken: what is no journal, or takes no more entries, is replaced by
// the next write.
func TestRedisJournal_Broken(t *testing.T) {
	t.Parallel()
	client := newRedis(t, sharedRedis(t).Addr)
	const last = "18446744073709551615"
	for name, broken := range map[string]func(journal string) error{
		"another type": func(journal string) error { return client.LPush(t.Context(), journal, "x").Err() },
		"exhausted": func(journal string) error {
			return client.Do(t.Context(), "XADD", journal, last+"-"+last, "k", "v").Err()
		},
		"ahead": func(journal string) error {
			return client.Do(t.Context(), "XADD", journal, last+"-0", "k", "v").Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := redisstore.Options{Prefix: uniqueName()}
			r := newReader(t, journalOn(t, client, opts))
			journal := opts.Prefix + ":{0}!journal"
			require.NoError(t, client.Del(t.Context(), journal).Err())
			require.NoError(t, broken(journal))
			r.set("a")
			assert.True(t, r.resets(), "a new epoch")
			r.set("b")
			r.goesOn("b")
		})
	}
}
