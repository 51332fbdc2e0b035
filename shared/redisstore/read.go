package redisstore

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
)

// proven is what was read under a key, and how new the server is that it was read
// from: the head of its partition's metadata.
type proven struct {
	image []byte
	head  driver.Revision
	err   error // instead
}

func (p proven) failure() error { return p.err }
func (p proven) size() int      { return len(p.image) }

// Read implements [driver.Store].
func (s *Store) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, _, err := s.ReadProven(ctx, keys)
	return images, err
}

// Proves implements [driver.Prover]: it reports whether there is a journal.
func (s *Store) Proves() bool { return s.Partitions() > 0 }

// ReadProven implements [driver.Prover]. The metadata of each partition is read in the
// same request as its keys, and so over the same connection.
func (s *Store) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	if err := s.ready(ctx); err != nil {
		return nil, nil, failed(ctx, "read", err)
	}
	images, heads := make([][]byte, len(keys)), make([]driver.Revision, len(keys))
	read := s.readMany
	switch {
	case len(keys) == 0:
		return images, heads, nil
	case len(keys) == 1 && s.single != nil:
		read = s.readTogether
	case len(keys) > 1 && s.single == nil:
		read = s.readApart
	}
	all, err := read(ctx, keys)
	for i := range all {
		images[i], heads[i] = all[i].image, all[i].head
	}
	return images, heads, err
}

// readTogether reads one key, together with others if there are any.
func (s *Store) readTogether(ctx context.Context, keys []string) ([]proven, error) {
	one := s.reads.do(ctx, keys[0])
	return []proven{one}, one.err
}

// readApart reads keys that may be on several servers.
func (s *Store) readApart(ctx context.Context, keys []string) ([]proven, error) {
	cmds, heads := make([]*redis.Cmd, len(keys)), make(map[int]*redis.Cmd)
	s.pipelined(ctx, func(pipe redis.Pipeliner) {
		for i, key := range keys {
			if p := s.Partition(key); s.Proves() && heads[p] == nil {
				heads[p] = pipe.Do(ctx, "getrange", s.partitions[p].metadata, 0, headSize-1)
			}
			cmds[i] = pipe.Do(ctx, "get", s.recordKey(key))
		}
	})
	all, errs := make([]proven, len(keys)), make([]error, len(keys))
	for i, cmd := range cmds {
		text, err := cmd.Text()
		all[i].image, errs[i] = imageOf(ctx, text, err)
		if head := heads[s.Partition(keys[i])]; head != nil && errs[i] == nil {
			text, err := head.Text()
			if err != nil {
				all[i].image, errs[i] = nil, failed(ctx, "read", err)
			}
			all[i].head = headOf(text)
		}
	}
	return all, driver.Partial(errs)
}

// headSize is how much of the metadata of a partition is its head: epoch and last
// revision number.
const headSize = 16

func headOf(metadata string) driver.Revision {
	if len(metadata) < headSize {
		return driver.Revision{}
	}
	head := []byte(metadata[:headSize])
	return driver.Revision{Epoch: binary.BigEndian.Uint64(head), Number: binary.BigEndian.Uint64(head[8:])}
}

// readsOf returns what turns reads of single keys into fewer.
func (s *Store) readsOf() *combiner[string, proven] {
	each := func(ctx context.Context, keys []string) []proven {
		all, err := s.readMany(ctx, keys)
		if err != nil {
			all = slices.Repeat([]proven{{err: err}}, len(keys))
		}
		return all
	}
	return &combiner[string, proven]{
		one:   func(ctx context.Context, key string) proven { return each(ctx, []string{key})[0] },
		many:  each,
		fail:  func(ctx context.Context, _ string, err error) proven { return proven{err: failed(ctx, "read", err)} },
		size:  func(key string) int { return len(key) },
		again: true,
		pace:  pace{few: fewReads, most: s.connections(), least: leastPatience},
	}
}

// readMany reads keys of a single server, or one key, with one MGET, the metadata of the
// partitions first. What is no string reads as missing there; a lease for it will not be granted.
func (s *Store) readMany(ctx context.Context, keys []string) ([]proven, error) {
	names := make([]string, 0, 1+len(keys))
	var partitions []int // in the order of their metadata; of most stores there is one
	if s.Proves() {
		for _, key := range keys {
			if p := s.Partition(key); !slices.Contains(partitions, p) {
				partitions, names = append(partitions, p), append(names, s.partitions[p].metadata.(string))
			}
		}
	}
	values, err := s.client.MGet(ctx, s.recordKeys(names, keys)...).Result()
	s.notice(err)
	if err != nil {
		return nil, failed(ctx, "read", err)
	}
	all := make([]proven, len(keys))
	for i, value := range values[len(partitions):] {
		if text, ok := value.(string); ok {
			all[i].image = bytesOf(text)
		}
		if len(partitions) > 0 {
			head, _ := values[slices.Index(partitions, s.Partition(keys[i]))].(string)
			all[i].head = headOf(head)
		}
	}
	return all, nil
}
