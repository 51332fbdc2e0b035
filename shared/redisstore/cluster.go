package redisstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// reloadEvery is how often at most a Cluster is asked which server has which keys.
const reloadEvery = time.Second

// notice takes in that a call failed with err, or that none did. If a server of a
// Cluster may be gone, the client is told to ask the others which of them has its keys
// now. By itself it asks when a server says MOVED, which a dead one does not, and every
// ClusterStateReloadInterval, which is a minute.
func (s *Store) notice(err error) {
	if err == nil || s.reload == nil || !gone(err) {
		return
	}
	if s.reloaded.due(reloadEvery) {
		s.reload(context.Background()) // in a goroutine of the client
	}
}

// gone reports whether err may come from a server that is gone: it gave no answer, or
// one that may be another soon.
func gone(err error) bool {
	if answer := code(err); answer != "" {
		return slices.Contains(notReady, answer)
	}
	return !errors.Is(err, redis.Nil) && !errors.Is(err, context.Canceled)
}
