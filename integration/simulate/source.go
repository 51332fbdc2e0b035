package simulate

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/integration/history"
	"github.com/nearbus/nearbus/nearcache"
)

// maxKeys is how many keys there can be: a value has its key in it.
const maxKeys = 1 << 10

// source is the truth: a version for each key. It survives every process.
type source struct {
	mu      sync.Mutex         // protects commits
	commits [][]history.Moment // of each key: when each version came

	failing atomic.Bool  // loads fail
	failed  atomic.Int64 // when the last load failed
}

func newSource(keys int) *source { return &source{commits: make([][]history.Moment, keys)} }

func (s *source) commit(key uint32) (version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits[key] = append(s.commits[key], now())
	return int64(len(s.commits[key]))
}

func (s *source) load(key uint32) (version int64) { return s.asOf(key, now()) }

// asOf returns the version that a key had at a time.
func (s *source) asOf(key uint32, at history.Moment) (version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.commits[key]
	return int64(sort.Search(len(all), func(i int) bool { return all[i] > at }))
}

// snapshot is what was read of some keys at one moment.
type snapshot struct {
	source   *source
	began    history.Moment
	failing  bool
	versions map[uint32]int64
}

// read reads some keys now, of a replica that is behind by so much.
func (s *source) read(behind time.Duration, keys ...uint32) *snapshot {
	r := &snapshot{source: s, began: now(), failing: s.failing.Load(), versions: make(map[uint32]int64, len(keys))}
	for _, key := range keys {
		r.versions[key] = s.asOf(key, r.began-int64(behind))
	}
	return r
}

// entry tells what was read of one of the keys.
func (r *snapshot) entry(key uint32) (nearcache.Loaded[int64], error) {
	switch version := r.versions[key]; {
	case r.failing:
		r.source.failed.Store(now())
		return nearcache.Loaded[int64]{}, errSource
	case absentAt(key, version):
		return nearcache.Loaded[int64]{}, nearcache.ErrNotFound
	default:
		e := entryOf(key, version)
		return nearcache.Loaded[int64]{Value: e.Value, Tags: e.Tags}, nil
	}
}

// failedSince reports whether a load failed since a time.
func (s *source) failedSince(at history.Moment) bool { return s.failed.Load() >= at }

func (s *source) latest() []int64 {
	latest := make([]int64, len(s.commits))
	for i := range latest {
		latest[i] = s.load(uint32(i))
	}
	return latest
}

// valueOf makes a value that tells its key and version.
func valueOf(key uint32, version int64) int64 { return version*maxKeys + int64(key) }

// versionOf reads a value that was returned for key. An error says that nobody wrote it.
func versionOf(key uint32, value int64) (version int64, err error) {
	if value%maxKeys != int64(key) || value < 0 {
		return 0, fmt.Errorf("value %d of key %d is of key %d", value, key, value%maxKeys)
	}
	return value / maxKeys, nil
}

func keyName(key uint32) string { return fmt.Sprintf("key-%d", key) }

// tagsOf returns the tags of a key: every other key has one of its own, and one that
// others have as well.
func tagsOf(key uint32) []string {
	if key%2 == 0 {
		return []string{ownTag(key), groupTag(key % groups)}
	}
	return nil
}

// groups is how many tags there are that several keys have.
const groups = 6

func ownTag(key uint32) string     { return fmt.Sprintf("of-%d", key) }
func groupTag(group uint32) string { return fmt.Sprintf("group-%d", group) }

// absentAt reports whether the truth about key is, as of this version, that there is no
// value. Keys with tags always have one: a value that is not there has no tags.
func absentAt(key uint32, version int64) bool { return version%4 == 3 && key%2 == 1 }
