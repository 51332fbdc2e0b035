package shardstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
	"github.com/nearbus/nearbus/shared/shardstore"
)

var errDown = errors.New("connection refused")

// server is a shard's server: it can be down, lose what it has, and have a
// clock that is ahead of others.
type server struct {
	*memstore.Store
	ahead time.Duration
	down  atomic.Bool
	hangs atomic.Bool // it answers nothing, and refuses nothing either
	calls atomic.Int64
}

func newServer() *server { return &server{Store: memstore.New(memstore.Options{})} }

func (s *server) err(ctx context.Context) error {
	s.calls.Add(1)
	if s.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.down.Load() {
		return errDown
	}
	return nil
}

// theirs turns a time of the memstore into one of the server, ours is the
// reverse.
func (s *server) theirs(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(s.ahead)
}

func (s *server) ours(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-s.ahead)
}

// stamped gives the expiries of an image as the server's clock has them.
func (s *server) stamped(image []byte) []byte {
	if r, err := driver.DecodeRecord(image); err == nil && r.Hard != 0 {
		r.Hard += s.ahead.Milliseconds()
		return r.Append(nil)
	}
	return image
}

// kept is the reverse of stamped, for the beginning of a record.
func (s *server) kept(header []byte) []byte {
	const at = driver.StampOffset + 24
	if len(header) < at+8 {
		return header
	}
	header = bytes.Clone(header)
	binary.BigEndian.PutUint64(header[at:], binary.BigEndian.Uint64(header[at:])-uint64(s.ahead.Milliseconds()))
	return header
}

func (s *server) Time(ctx context.Context) (time.Time, error) {
	if err := s.err(ctx); err != nil {
		return time.Time{}, err
	}
	now, err := s.Store.Time(ctx)
	return s.theirs(now), err
}

func (s *server) Read(ctx context.Context, keys []string) ([][]byte, error) {
	if err := s.err(ctx); err != nil {
		return nil, err
	}
	images, err := s.Store.Read(ctx, keys)
	for i := range images {
		images[i] = s.stamped(images[i])
	}
	return images, err
}

func (s *server) ReadProven(ctx context.Context, keys []string) ([][]byte, []driver.Revision, error) {
	images, err := s.Read(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	_, heads, err := s.Store.ReadProven(ctx, keys)
	return images, heads, err
}

func (s *server) Write(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return s.carryOut(ctx, writes, s.Store.Write)
}

func (s *server) Fill(ctx context.Context, writes []driver.Write) []driver.Receipt {
	return s.carryOut(ctx, writes, s.Store.Fill)
}

func (s *server) carryOut(ctx context.Context, writes []driver.Write, do func(context.Context, []driver.Write) []driver.Receipt) []driver.Receipt {
	receipts := make([]driver.Receipt, len(writes))
	for i, w := range writes {
		if receipts[i].Err = s.err(ctx); receipts[i].Err != nil {
			continue
		}
		w.NotAfter = s.ours(w.NotAfter)
		receipts[i] = do(ctx, []driver.Write{w})[0]
		receipts[i].Now = s.theirs(receipts[i].Now)
	}
	return receipts
}

func (s *server) Touch(ctx context.Context, touches []driver.Touch) []driver.Receipt {
	receipts := make([]driver.Receipt, len(touches))
	for i, t := range touches {
		if receipts[i].Err = s.err(ctx); receipts[i].Err != nil {
			continue
		}
		t.NotAfter = s.ours(t.NotAfter)
		receipts[i] = s.Store.Touch(ctx, []driver.Touch{t})[0]
		receipts[i].Now = s.theirs(receipts[i].Now)
	}
	return receipts
}

func (s *server) Acquire(ctx context.Context, leases []driver.Lease) []driver.Grant {
	grants := make([]driver.Grant, len(leases))
	for i, l := range leases {
		if grants[i].Err = s.err(ctx); grants[i].Err != nil {
			continue
		}
		l.NotAfter = s.ours(l.NotAfter)
		l.Discard = s.kept(l.Discard)
		grants[i] = s.Store.Acquire(ctx, []driver.Lease{l})[0]
		grants[i].Now = s.theirs(grants[i].Now)
		grants[i].Image = s.stamped(grants[i].Image)
	}
	return grants
}

func (s *server) Tail(ctx context.Context, reads []driver.TailRead) []driver.Tail {
	if err := s.err(ctx); err != nil {
		tails := make([]driver.Tail, len(reads))
		for i := range tails {
			tails[i].Err = err
		}
		return tails
	}
	tails := s.Store.Tail(ctx, reads)
	for i := range tails {
		tails[i].Now = s.theirs(tails[i].Now)
	}
	return tails
}

// park is some servers by name.
type park map[string]*server

func newPark(names ...string) park {
	p := park{}
	for _, name := range names {
		p[name] = newServer()
	}
	return p
}

// replace puts an empty server in the place of another.
func (p park) replace(name string) {
	*p[name] = server{Store: memstore.New(memstore.Options{})}
}

// shards returns those of these names. One that begins with a minus is idle.
func (p park) shards(names ...string) []shardstore.Shard {
	shards := make([]shardstore.Shard, len(names))
	for i, name := range names {
		idle := name[0] == '-'
		if idle {
			name = name[1:]
		}
		shards[i] = shardstore.Shard{Name: name, Store: p[name], Idle: idle}
	}
	return shards
}

// epoch returns a store with the map of this number.
func (p park) epoch(t *testing.T, epoch uint64, names ...string) *shardstore.Store {
	t.Helper()
	return newStore(t, p.shards(names...), shardstore.Options{Epoch: epoch})
}

// open is epoch for a map that takes effect.
func (p park) open(t *testing.T, epoch uint64, names ...string) *shardstore.Store {
	t.Helper()
	s := p.epoch(t, epoch, names...)
	require.NoError(t, s.Open(t.Context()))
	return s
}

// put writes a value of an hour and returns the error.
func put(ctx context.Context, s driver.Store, key, value string) error {
	r := driver.Record{Kind: driver.KindValue, Nonce: driver.NewNonce(), Value: []byte(value)}
	return s.Write(ctx, []driver.Write{{Key: key, Image: r.Append(nil), TTL: time.Hour}})[0].Err
}

// get returns the value of key, "" if there is none.
func get(ctx context.Context, s driver.Store, key string) (string, error) {
	images, err := s.Read(ctx, []string{key})
	if err != nil || images[0] == nil {
		return "", err
	}
	r, err := driver.DecodeRecord(images[0])
	return string(r.Value), err
}

// has requires that key has this value, "" for none.
func has(t *testing.T, s driver.Store, key, want string) {
	t.Helper()
	got, err := get(t.Context(), s, key)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// homeOf returns the shard of key.
func homeOf(t *testing.T, s *shardstore.Store, key string) string {
	t.Helper()
	home, _, err := s.Locate(t.Context(), key)
	require.NoError(t, err)
	return home
}
