package redisstore

import (
	"context"
	"encoding/binary"

	"github.com/redis/go-redis/v9"
)

// Sweeps implements [driver.Sweeper].
func (s *Store) Sweeps() bool { return true }

// Swept implements [driver.Sweeper]. The keys of a partition are a group.
func (s *Store) Swept(ctx context.Context, keys []string) ([]uint64, error) {
	if err := s.ready(ctx); err != nil {
		return nil, failed(ctx, "read", err)
	}
	cmds, clocks := make([]*redis.Cmd, len(keys)), make([]uint64, len(keys))
	s.pipelined(ctx, func(pipe redis.Pipeliner) {
		for i, key := range keys {
			cmds[i] = pipe.Do(ctx, "get", s.partitions[s.Partition(key)].swept)
		}
	})
	for i, cmd := range cmds {
		text, err := cmd.Text()
		clock, err := imageOf(ctx, text, err)
		if err != nil {
			return nil, err
		}
		if len(clock) == clockSize {
			clocks[i] = binary.BigEndian.Uint64(clock)
		}
	}
	return clocks, nil
}

// clockSize is the length of a clock.
const clockSize = 8
