package nearcache

import (
	"reflect"
	"strings"

	"github.com/nearbus/nearbus/shared"
)

// loadedTooLarge counts a loaded value that the shared tier does not take, of size bytes, and
// logs the first of the cache: every node loads such a value for every request, and
// nobody gets an error.
func (k *keyspace) loadedTooLarge(key string, size int, err error) {
	k.tooLarge.Add(1)
	if k.toldTooLarge.Swap(true) {
		return
	}
	k.node.opts.Logger.Warn("nearcache: a loaded value is too large for the shared tier, and is not cached",
		"cache", k.name, "key", key, "size", size, "limit", k.node.tier.MaxValue(), "error", err)
}

// Why a record cannot be read.
const (
	foreignFormat = "it has another codec or schema: another version of this program wrote it, or another program " +
		"with a cache of this name in the namespace"
	foreignType = "the codec refuses it: it may be of another type, or be a value that its codec writes and does not read"
)

// foreign counts a record that this cache cannot read, and logs the first. What the codec
// said of it may carry the value.
func (k *keyspace) foreign(key, reason string, found *shared.Found) {
	if k.undecodable.Add(1) > 1 {
		return
	}
	k.node.opts.Logger.Warn("nearcache: a record that this cache cannot read is a miss",
		"cache", k.name, "key", key, "reason", reason,
		"codec", found.Codec, "schema", found.Schema, "own_codec", k.opts.Codec.ID(), "own_schema", k.opts.Schema)
}

// warnDropped logs the fields of the type that the codec does not store: the node that
// loads a value has them, all others have none.
func (c *Cache[V]) warnDropped(dropped []string) {
	if len(dropped) == 0 {
		return
	}
	c.node.opts.Logger.Warn("nearcache: the codec does not store all fields of the type: other nodes get values without them",
		"cache", c.keys.name, "type", reflect.TypeFor[V]().String(), "codec", c.opts.Codec.ID(), "fields", strings.Join(dropped, ", "))
}
