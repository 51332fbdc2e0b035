package shardstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/memstore"
	"github.com/nearbus/nearbus/shared/shardstore"
)

func TestNew_Refuses(t *testing.T) {
	one := memstore.New(memstore.Options{})
	var none *memstore.Store
	for want, c := range map[string]struct {
		shards []shardstore.Shard
		opts   shardstore.Options
	}{
		"0 shards, not in 1 to 256":          {nil, shardstore.Options{}},
		`Shard.Name "" has 0 bytes`:          {[]shardstore.Shard{{Store: one}}, shardstore.Options{}},
		"has 65 bytes, not 1 to 64":          {[]shardstore.Shard{{Name: strings.Repeat("a", 65), Store: one}}, shardstore.Options{}},
		`Shard.Store of "a" is nil`:          {[]shardstore.Shard{{Name: "a"}}, shardstore.Options{}},
		`Shard.Store of "b" is nil`:          {[]shardstore.Shard{{Name: "b", Store: none}}, shardstore.Options{}},
		`Shard.Weight of "a" is -1`:          {[]shardstore.Shard{{Name: "a", Store: one, Weight: -1}}, shardstore.Options{}},
		`Shard.Weight of "a" is 65`:          {[]shardstore.Shard{{Name: "a", Store: one, Weight: 65}}, shardstore.Options{}},
		`two shards have the name "a"`:       {append(inMemory(1), inMemory(1)...), shardstore.Options{}},
		`shards "a" and "b" are one store`:   {[]shardstore.Shard{{Name: "a", Store: one}, {Name: "b", Store: one}}, shardstore.Options{}},
		"every shard is idle":                {[]shardstore.Shard{{Name: "a", Store: one, Idle: true}}, shardstore.Options{}},
		`Options.Lost names shard "a"`:       {inMemory(1), shardstore.Options{Lost: []string{"a"}}},
		"Options.Handover is 1ms":            {inMemory(1), shardstore.Options{Handover: time.Millisecond}},
		"Options.Handover is -1s":            {inMemory(1), shardstore.Options{Handover: -time.Second}},
		"Options.Epoch is":                   {inMemory(1), shardstore.Options{Epoch: 1 << 63}},
		"Options.Expired is 3, not below Ep": {inMemory(1), shardstore.Options{Epoch: 3, Expired: 3}},
	} {
		_, err := shardstore.New(c.shards, c.opts)
		require.ErrorContains(t, err, want)
	}
}
