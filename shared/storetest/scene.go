package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// scene is the surroundings of one run of a case.
type scene struct {
	ctx     context.Context
	harness Harness
	store   driver.Store
}

// violation is what a case panics with to end itself.
type violation struct{ error }

// require ends the case with a violation unless ok.
func (s *scene) require(ok bool, format string, args ...any) {
	if !ok {
		panic(violation{fmt.Errorf(format, args...)})
	}
}

func (s *scene) noError(err error, doing string) {
	s.require(err == nil, "%s: %w", doing, err)
}

// fails requires that err is target.
func (s *scene) fails(err, target error, doing string) {
	s.require(errors.Is(err, target), "%s: the error is %v, not %v", doing, err, target)
}

// until waits until ok returns true.
func (s *scene) until(ok func() bool, format string, args ...any) {
	deadline := time.Now().Add(patience)
	for !ok() {
		s.require(time.Now().Before(deadline) && s.ctx.Err() == nil,
			"in vain waited for: "+format, args...)
		s.pass(5 * time.Millisecond)
	}
}

// pass lets time pass.
func (s *scene) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
	}
}

// within makes an attempt that means something only if it takes less than d,
// each time with another key, until one did. It returns that key.
func (s *scene) within(d time.Duration, attempt func(key string) error) string {
	for i := range 10 {
		key := fmt.Sprintf("attempt %d", i)
		start := time.Now()
		err := attempt(key)
		if time.Since(start) < d {
			s.noError(err, "in time")
			return key
		}
	}
	panic(violation{fmt.Errorf("ten attempts took longer than %v each", d)})
}

// together runs n functions at the same time and requires that all succeed.
func (s *scene) together(n int, run func(i int) error) {
	errs := make([]error, n)
	start := make(chan struct{}) // closed when all may go
	var all sync.WaitGroup
	for i := range n {
		// Ends with run; waited for below.
		all.Go(func() {
			<-start
			defer violated(&errs[i])
			errs[i] = run(i)
		})
	}
	close(start)
	all.Wait()
	s.noError(errors.Join(errs...), "at the same time")
}

// violated is deferred to make an error of a violation, or of a panic.
func violated(err *error) {
	switch p := recover().(type) {
	case nil:
	case violation:
		*err = p.error
	default:
		*err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

// value returns a record of v that no other is like.
func value(v string) driver.Record {
	return driver.Record{Kind: driver.KindValue, Codec: 7, Nonce: driver.NewNonce(), Value: []byte(v)}
}

func tombstone() driver.Record {
	return driver.Record{Kind: driver.KindTombstone, Nonce: driver.NewNonce()}
}

func watermark() driver.Record {
	return driver.Record{Kind: driver.KindWatermark, Nonce: driver.NewNonce()}
}

// write returns a write of r that lives for an hour.
func write(key string, r driver.Record) driver.Write {
	return driver.Write{Key: key, Image: r.Append(nil), TTL: time.Hour}
}

// filling returns r as the holder of the lease with this token fills it in.
func filling(key string, r driver.Record, token uint64) driver.Write {
	r.Nonce = token
	return write(key, r)
}

// try writes and returns the only receipt.
func (s *scene) try(w driver.Write) driver.Receipt {
	receipts := s.store.Write(s.ctx, []driver.Write{w})
	s.require(len(receipts) == 1, "%d receipts for one write", len(receipts))
	return receipts[0]
}

// put writes and requires that it succeeds.
func (s *scene) put(w driver.Write) driver.Receipt {
	r := s.try(w)
	s.noError(r.Err, "write")
	return r
}

func (s *scene) set(key, v string) driver.Receipt { return s.put(write(key, value(v))) }

func (s *scene) fill(w driver.Write) driver.Receipt {
	r := s.tryFill(w)
	s.noError(r.Err, "fill")
	return r
}

// tryFill fills and returns the only receipt.
func (s *scene) tryFill(w driver.Write) driver.Receipt {
	receipts := s.store.Fill(s.ctx, []driver.Write{w})
	s.require(len(receipts) == 1, "%d receipts for one fill", len(receipts))
	return receipts[0]
}

// image returns what is under key.
func (s *scene) image(key string) []byte {
	images, err := s.store.Read(s.ctx, []string{key})
	s.noError(err, "read")
	s.require(len(images) == 1, "%d images for one key", len(images))
	return images[0]
}

// record returns the record under key, which must be there.
func (s *scene) record(key string) driver.Record {
	image := s.image(key)
	s.require(image != nil, "nothing is stored under %q", key)
	r, err := driver.DecodeRecord(image)
	s.noError(err, "decode")
	return r
}

// holds requires that v is stored under key.
func (s *scene) holds(key, v string) {
	r := s.record(key)
	s.require(r.Kind == driver.KindValue, "%q holds a record of kind %d, not a value", key, r.Kind)
	s.require(string(r.Value) == v, "%q holds %.40q, not %.40q", key, r.Value, v)
}

// empty requires that nothing is stored under key.
func (s *scene) empty(key string) {
	image := s.image(key)
	s.require(image == nil, "%q holds %d bytes, not nothing", key, len(image))
}

// lease returns a request for the lease of key.
func lease(key string, token uint64) driver.Lease {
	r := driver.Record{Kind: driver.KindLease, Nonce: token}
	return driver.Lease{Key: key, Image: r.Append(nil), TTL: time.Hour}
}

// ask requests a lease and returns the grant.
func (s *scene) ask(l driver.Lease) driver.Grant {
	grant := s.tryAcquire(l)
	s.noError(grant.Err, "acquire")
	return grant
}

// tryAcquire requests a lease and returns the only grant.
func (s *scene) tryAcquire(l driver.Lease) driver.Grant {
	grants := s.store.Acquire(s.ctx, []driver.Lease{l})
	s.require(len(grants) == 1, "%d grants for one lease", len(grants))
	return grants[0]
}

// asks requires that a request for a lease has this outcome.
func (s *scene) asks(l driver.Lease, want driver.GrantStatus) driver.Grant {
	grant := s.ask(l)
	s.require(grant.Status == want, "acquire: the status is %d, not %d", grant.Status, want)
	return grant
}

// acquire gets the lease of key and returns its token.
func (s *scene) acquire(key string) uint64 {
	token := driver.NewNonce()
	s.asks(lease(key, token), driver.LeaseGranted)
	return token
}

func (s *scene) plant(key string, data []byte) {
	s.noError(s.harness.Plant(s.ctx, s.store, key, data), "plant")
}

func (s *scene) now() time.Time {
	now, err := s.store.Time(s.ctx)
	s.noError(err, "time")
	return now
}
