package memcachestore

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// maxDeaths is how many connections may die under a request before it fails. The first
// has all dropped that are kept; the next ones were in use then, and kept afterwards.
const maxDeaths = 3

// kept is what is known of the connections that the client keeps.
type kept struct {
	mu       sync.Mutex
	drained  atomic.Uint64 // how often they were dropped
	answered atomic.Bool   // since then a request was, so that there may be one
}

// read makes a request that changes nothing, and makes it again at once when the
// connection died that the client had kept for it.
func (s *Store) read(ctx context.Context, request func() error) error {
	for deaths := 0; ; deaths++ {
		drained := s.kept.drained.Load()
		err := request()
		if !s.stale(err, drained) || deaths == maxDeaths || ready(ctx, time.Time{}) != nil {
			return err
		}
	}
}

// stale reports whether err, of a request before which drained was loaded, may be that
// of a connection which had died while the client kept it. Then none is kept any more:
// the others are most likely as old. Those that are in use are not among them. A
// connection that dies right after it was made is another matter.
func (s *Store) stale(err error, drained uint64) bool {
	k := &s.kept
	if !died(err) {
		if (err == nil || errors.Is(err, memcache.ErrCacheMiss)) && !k.answered.Load() {
			k.answered.Store(true)
		}
		return false
	}
	k.mu.Lock() // who comes second needs a pool without dead ones
	defer k.mu.Unlock()
	if k.drained.Load() != drained {
		return true
	}
	if !k.answered.Swap(false) {
		return false
	}
	_ = s.client.Close() // of connections that are of no use
	k.drained.Add(1)
	return true
}

// died reports whether err says that the server, or what is in between, ended a
// connection. That none could be made, or that an answer took too long, is not of this
// kind.
func died(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	var broken *net.OpError
	return errors.As(err, &broken) && broken.Op != "dial" && !broken.Timeout() && !errors.Is(err, net.ErrClosed)
}
