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
	read := s.readMany
	switch {
	case len(keys) == 0:
		return nil, nil, nil
	case len(keys) == 1:
		return s.readSingle(ctx, keys[0])
	case s.single == nil:
		read = s.readApart
	}
	images, heads := make([][]byte, len(keys)), make([]driver.Revision, len(keys))
	all, err := read(ctx, keys)
	for i := range all {
		images[i], heads[i] = all[i].image, all[i].head
	}
	return images, heads, err
}

// readSingle reads one key, on one server together with others if there are any.
func (s *Store) readSingle(ctx context.Context, key string) ([][]byte, []driver.Revision, error) {
	var one proven
	if s.single != nil {
		one = s.reads.do(ctx, key)
	} else {
		one = s.readOne(ctx, key)
	}
	result := &struct { // a single piece of memory
		images [1][]byte
		heads  [1]driver.Revision
	}{[1][]byte{one.image}, [1]driver.Revision{one.head}}
	return result.images[:], result.heads[:], one.err
}

// readOne is readMany for one key, with fewer pieces of memory.
func (s *Store) readOne(ctx context.Context, key string) (one proven) {
	p := &s.partitions[s.Partition(key)]
	args := append(make([]any, 0, 3), "mget")
	if s.Proves() {
		args = append(args, p.metadata)
	}
	args = append(args, p.prefix+key)
	cmd := redis.NewSliceCmd(ctx, args...)
	err := s.client.Process(ctx, cmd)
	s.notice(err)
	if err != nil {
		return proven{err: failed(ctx, "read", err)}
	}
	values := cmd.Val()
	if text, ok := values[len(values)-1].(string); ok {
		one.image = bytesOf(text)
	}
	if s.Proves() {
		head, _ := values[0].(string)
		one.head = headOf(head)
	}
	return one
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
	return &combiner[string, proven]{
		one: s.readOne,
		many: func(ctx context.Context, keys []string) []proven {
			all, err := s.readMany(ctx, keys)
			if err != nil {
				all = slices.Repeat([]proven{{err: err}}, len(keys))
			}
			return all
		},
		fail:  func(ctx context.Context, _ string, err error) proven { return proven{err: failed(ctx, "read", err)} },
		size:  func(key string) int { return len(key) },
		again: true,
		pace:  pace{few: fewReads, most: s.connections(), least: leastPatience},
	}
}

// readMany reads keys of a single server with one MGET, the metadata of the
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
