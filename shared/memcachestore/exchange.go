package memcachestore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/nearbus/nearbus/shared/driver"
)

// maxTries is how often a write is overtaken before it gives up.
const maxTries = 1000

var (
	errOvertaken = errors.New("other writers came first every time: nothing was stored")
	errNoCas     = errors.New("the server gives no cas numbers: start it without -C")
)

// change is what is to be put under a name.
type change struct {
	image []byte // nil: leave what is there
	ttl   time.Duration
}

// swap replaces what is under key by what decide makes of it, in one atomic
// step: decide is asked again when another writer came in between. Its errors
// are returned as they are.
func (s *Store) swap(ctx context.Context, op, key string, notAfter time.Time, decide func(*stored) (change, error)) error {
	if err := s.enter(ctx); err != nil {
		return failed(ctx, op, err)
	}
	defer s.leave()
	name, deaths := s.name(key), 0
	for range maxTries {
		old, err := s.gets(ctx, name, notAfter)
		if err != nil {
			return failed(ctx, op, err)
		}
		c, err := decide(&old)
		if err != nil || c.image == nil {
			return err
		}
		drained := s.kept.drained.Load()
		err = s.put(ctx, name, notAfter, old.item, c)
		switch {
		case overtaken(err):
		case s.stale(err, drained) && deaths < maxDeaths: // the next gets shows whether it was stored
			deaths++
		default:
			return failed(ctx, op, err)
		}
	}
	return failed(ctx, op, errOvertaken)
}

// enter waits for one of the connections. A write keeps its place for all of
// its requests: the longer the way from a gets to its cas, the more writers
// come in between.
func (s *Store) enter(ctx context.Context) error {
	select {
	case s.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) leave() { <-s.places }

// gets reads what is under name.
func (s *Store) gets(ctx context.Context, name string, notAfter time.Time) (stored, error) {
	if err := ready(ctx, notAfter); err != nil {
		return stored{}, err
	}
	var item *memcache.Item
	err := s.read(ctx, func() (err error) {
		item, err = s.client.Get(name)
		return err
	})
	if err != nil && !errors.Is(err, memcache.ErrCacheMiss) {
		return stored{}, err
	}
	return examine(item, time.Now())
}

// put stores c if old is still what is under name; nil means nothing.
func (s *Store) put(ctx context.Context, name string, notAfter time.Time, old *memcache.Item, c change) error {
	if err := ready(ctx, notAfter); err != nil {
		return err
	}
	item := &memcache.Item{Key: name, Value: c.image, Expiration: expiration(c.ttl, time.Now())}
	if old == nil {
		return s.client.Add(item)
	}
	item.CasID = old.CasID
	return s.client.CompareAndSwap(item)
}

// overtaken reports whether err is a server's refusal to add what is there
// meanwhile, or to replace what is not there any more or not the same.
func overtaken(err error) bool {
	return errors.Is(err, memcache.ErrNotStored) || errors.Is(err, memcache.ErrCASConflict) ||
		errors.Is(err, memcache.ErrCacheMiss)
}

// ready refuses to send a request for which it is too late.
func ready(ctx context.Context, notAfter time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !notAfter.IsZero() && time.Now().After(notAfter) {
		return driver.ErrTooLate
	}
	return nil
}

// failed names err, unless it is one that callers decide on, and makes it the
// error of ctx if that has ended.
func failed(ctx context.Context, op string, err error) error {
	var unreached *memcache.ConnectTimeoutError
	switch end := ctx.Err(); {
	case err == nil || errors.Is(err, driver.ErrTooLate):
		return err
	case tooLarge(err):
		return driver.ErrTooLarge
	case end != nil && !errors.Is(err, end):
		return fmt.Errorf("memcachestore: %s: %w (%w)", op, end, err)
	case full(err):
		return fmt.Errorf("memcachestore: %s: %w (%w) (%w: %s)", op, err, driver.ErrFull, driver.ErrRefused, whenFull)
	case errors.As(err, &unreached):
		return fmt.Errorf("memcachestore: %s: %w (%w)", op, err, driver.ErrUnavailable)
	}
	return fmt.Errorf("memcachestore: %s: %w", op, err)
}

// tooLarge recognizes the server's answer by its text, as gomemcache has no
// error for it.
func tooLarge(err error) bool {
	return strings.Contains(err.Error(), "SERVER_ERROR object too large")
}

// whenFull is what to do about a server that refuses what it has no room for.
const whenFull = "it is full, or has no room for values of this size: raise -m, and let it evict (no -M)"

// full recognizes by their text the server's answers that it has no memory left.
func full(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "server_error out of memory")
}
