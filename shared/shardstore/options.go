package shardstore

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

const (
	maxShards = 256
	maxWeight = 64
)

// Shard is one store of several.
type Shard struct {
	// Name says which shard this is, in every process and for good: keys go by
	// names. A shard that moves to a server without its data gets a new one.
	// It is not empty, and no longer than 64 bytes.
	Name string

	// Store is what the shard stands on. It belongs to the caller.
	Store driver.Store

	// Weight is the share of keys in proportion to those of others. Zero means
	// 1; it is 64 at most.
	Weight int

	// Idle says that the shard has no keys. It is known, so that this process
	// can follow when another begins a map in which it has some, and it is told
	// when its own keys leave it.
	Idle bool
}

// Options configure a [Store]. The zero value is the production default.
type Options struct {
	// Epoch is the number of the map that the shards are. Raise it whenever a
	// shard is added or removed, made idle or not, or given another weight or
	// number of partitions. A process whose number is lower than that of the
	// map in the shards follows that one. Zero means 1.
	Epoch uint64

	// Lost names shards that have keys and are not there any more: gone for
	// good, for every process. Without it a shard that has keys can only be
	// removed after a map in which it is idle. Do not add a shard that older
	// processes do not know in the same step: see the package comment.
	Lost []string

	// Expired says that whatever was stored, cleared or invalidated by tag in
	// epochs up to this one has expired. A shard that had keys in a later epoch
	// may hold the clock of a cache: if it is not there any more, not even
	// idle, a new map begins with every key absent, because nobody can know
	// what was cleared. Zero means none.
	Expired uint64

	// Handover is how long a shard is used after it last confirmed the map; a
	// new map takes effect that much later. Each shard in use is asked twice as
	// often. Zero means 1 s. When processes differ, the longest that any began
	// a map with holds.
	Handover time.Duration
}

func (o Options) withDefaults() Options {
	if o.Epoch == 0 {
		o.Epoch = 1
	}
	if o.Handover == 0 {
		o.Handover = time.Second
	}
	return o
}

func (o Options) validate(shards []Shard) error {
	if o.Epoch > 1<<62 {
		return fmt.Errorf("shardstore: Options.Epoch is %d, more than 2^62", o.Epoch)
	}
	if o.Handover < 0 || o.Handover > 0 && o.Handover < 10*time.Millisecond || o.Handover > time.Hour {
		return fmt.Errorf("shardstore: Options.Handover is %v, not in 10ms to 1h", o.Handover)
	}
	if o.Expired >= max(o.Epoch, 1) {
		return fmt.Errorf("shardstore: Options.Expired is %d, not below Epoch, %d", o.Expired, max(o.Epoch, 1))
	}
	for _, name := range o.Lost {
		if slices.ContainsFunc(shards, func(s Shard) bool { return s.Name == name }) {
			return fmt.Errorf("shardstore: Options.Lost names shard %q, which is there", name)
		}
	}
	return nil
}

func validateShards(shards []Shard) error {
	if len(shards) == 0 || len(shards) > maxShards {
		return fmt.Errorf("shardstore: %d shards, not in 1 to %d", len(shards), maxShards)
	}
	busy := false
	for i := range shards {
		s := &shards[i]
		busy = busy || !s.Idle
		if err := s.validate(); err != nil {
			return err
		}
		for j := range shards[:i] {
			if shards[j].Name == s.Name {
				return fmt.Errorf("shardstore: two shards have the name %q", s.Name)
			}
			if same(shards[j].Store, s.Store) {
				return fmt.Errorf("shardstore: shards %q and %q are one store", shards[j].Name, s.Name)
			}
		}
	}
	if !busy {
		return errors.New("shardstore: every shard is idle")
	}
	return nil
}

func (s *Shard) validate() error {
	switch {
	case s.Name == "" || len(s.Name) > 64:
		return fmt.Errorf("shardstore: Shard.Name %q has %d bytes, not 1 to 64", s.Name, len(s.Name))
	case isNil(s.Store):
		return fmt.Errorf("shardstore: Shard.Store of %q is nil", s.Name)
	case s.Weight < 0 || s.Weight > maxWeight:
		return fmt.Errorf("shardstore: Shard.Weight of %q is %d, not in 0 to %d", s.Name, s.Weight, maxWeight)
	}
	return nil
}

func isNil(store driver.Store) bool {
	v := reflect.ValueOf(store)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// same reports whether two stores are one.
func same(a, b driver.Store) bool {
	return reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}
