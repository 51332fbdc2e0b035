package shardstore

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxMaps is how many maps a history has at most. Beyond that it begins again:
// every key is new.
const maxMaps = 32

// member is a shard that has keys. Two members are the same home if they are
// equal but for their weight.
type member struct {
	Name       string `json:"name"`
	Weight     int    `json:"weight"`
	Partitions int    `json:"partitions"` // of its journal

	hash uint64 // of the name
}

func (m *member) sameHome(o *member) bool { return m.Name == o.Name && m.Partitions == o.Partitions }

// shardMap says which shards have keys, from an epoch on.
type shardMap struct {
	Epoch   uint64   `json:"epoch"`
	Expired uint64   `json:"expired,omitempty"` // as in Options
	Members []member `json:"shards"`            // by name
}

func (m *shardMap) equal(o *shardMap) bool { return slices.Equal(m.Members, o.Members) }

// history is the maps that there were, the oldest first, and the current one.
// It is what makes a value on an old home unfindable: see name.
type history []shardMap

func (h history) current() *shardMap { return &h[len(h)-1] }

// with returns h and then m.
func (h history) with(m shardMap) history {
	if len(h) >= maxMaps {
		return history{m}
	}
	return append(slices.Clone(h), m)
}

// locate returns the home of key, and the epoch since which it has been that
// without a break.
func (h history) locate(key string) (home *member, since uint64) {
	stay := h.stay(hash(key), len(h)-1)
	return stay.home, stay.since
}

// stay is a time during which the home of a key did not change.
type stay struct {
	home  *member
	since uint64 // its first epoch
	first int    // the place of its first map in the history
	until uint64 // its last epoch
}

// stay returns the one that the map at a place of the history belongs to, for
// the key with this hash, as far as that map.
func (h history) stay(key uint64, at int) stay {
	s := stay{home: h[at].home(key), since: h[at].Epoch, first: at, until: h[at].Epoch}
	for s.first > 0 && h[s.first-1].home(key).sameHome(s.home) {
		s.first--
		s.since = h[s.first].Epoch
	}
	return s
}

// needed calls f with the members of the maps that have not expired, until it
// returns an error.
func (h history) needed(expired uint64, f func(epoch uint64, m *member) error) error {
	for i := range h {
		if h[i].Epoch <= expired {
			continue
		}
		for j := range h[i].Members {
			if err := f(h[i].Epoch, &h[i].Members[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// name is what a key is called on its home: it says since when it is at home
// there. When the key leaves and comes back, it has another name, and what was
// left under the old one is never found again. No name is that of the registry.
func name(key string, since uint64) string { return key + "@" + strconv.FormatUint(since, 10) }

// keyOf is the reverse of name.
func keyOf(name string) (key string, ok bool) {
	at := strings.LastIndexByte(name, '@')
	if at <= 0 {
		return "", false
	}
	_, err := strconv.ParseUint(name[at+1:], 10, 64)
	return name[:at], err == nil
}

// charter is what the registry of every shard holds: the maps, and whether the
// current one has taken effect.
type charter struct {
	Shard    string  `json:"shard"` // whose registry it is
	Handover int64   `json:"handover_ms"`
	Active   bool    `json:"active"`
	Maps     history `json:"maps"`
}

func (c *charter) epoch() uint64 { return c.Maps.current().Epoch }

func (c *charter) handover() time.Duration { return time.Duration(c.Handover) * time.Millisecond }

// clock orders the charters of different epochs, and pending ones before
// active ones.
func (c *charter) clock() uint64 {
	clock := c.epoch() << 1
	if c.Active {
		clock++
	}
	return clock
}

// digest is the same for charters of the same maps.
func (c *charter) digest() string {
	data, err := json.Marshal(c.Maps)
	if err != nil {
		panic(err) // numbers and strings
	}
	return string(data)
}

func (c *charter) encode() []byte {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // numbers and strings
	}
	return data
}

// decodeCharter reads what a registry holds.
func decodeCharter(data []byte) (*charter, error) {
	c := &charter{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	if len(c.Maps) == 0 || len(c.Maps) > maxMaps || c.Handover <= 0 || c.Handover > time.Hour.Milliseconds() {
		return nil, fmt.Errorf("registry: %d maps, handover %d ms", len(c.Maps), c.Handover)
	}
	for i := range c.Maps {
		if err := c.Maps[i].check(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// check refuses a map that nobody made, and prepares it for use.
func (m *shardMap) check() error {
	if m.Epoch == 0 || m.Epoch > 1<<62 || len(m.Members) == 0 || len(m.Members) > maxShards {
		return fmt.Errorf("registry: epoch %d, %d shards", m.Epoch, len(m.Members))
	}
	for i := range m.Members {
		w := m.Members[i].Weight
		if w < 1 || w > maxWeight {
			return fmt.Errorf("registry: weight %d", w)
		}
		m.Members[i].hash = hash(m.Members[i].Name)
	}
	byName := func(a, b member) int { return cmp.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(m.Members, byName) {
		return fmt.Errorf("registry: shards of epoch %d are not in order", m.Epoch)
	}
	return nil
}
