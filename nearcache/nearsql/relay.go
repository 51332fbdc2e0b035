package nearsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/internal/outage"
)

const (
	firstPause   = 100 * time.Millisecond // after a failure
	longestPause = 5 * time.Second

	// tendInterval is how often the backlog is measured, and what was set aside is looked at.
	tendInterval = 5 * time.Second

	// forgetInterval is how often rows that were set aside too long ago are deleted.
	forgetInterval = time.Hour
)

// ErrRunning is returned by [Relay.Run] while another call of it runs.
var ErrRunning = errors.New("nearsql: the relay runs already")

// Cache is what a relay does to a cache. A *nearcache.Cache[V] is one for every V. Its methods
// are called from many goroutines at once.
type Cache interface {
	Invalidate(ctx context.Context, keys ...string) error
	InvalidateTags(ctx context.Context, tags ...string) error
	Clear(ctx context.Context) error
}

var _ Cache = (*nearcache.Cache[struct{}])(nil)

// RelayOptions configure a [Relay]. The zero value is the production default.
type RelayOptions struct {
	// PollInterval is how often the relay looks for rows that nobody rang for: those that
	// another process committed, for one. Each pause is up to a tenth shorter, at random.
	// Zero means 100 ms; the least is 1 ms. A look is one SELECT.
	PollInterval time.Duration

	// ClaimFor is how long the rows that a relay is delivering are kept from other relays. If
	// the relay dies, others deliver the rows after that time. A delivery that takes longer
	// than half of it fails, and is tried again. Zero means 10 s; the least is 1 s.
	ClaimFor time.Duration

	// Logger receives that the database or a cache was lost and is back, and each batch of
	// rows that is set aside. There are no keys and no values in it. Nil means that nothing is
	// logged.
	Logger *slog.Logger
}

func (o *RelayOptions) check() error {
	if o.PollInterval == 0 {
		o.PollInterval = 100 * time.Millisecond
	}
	if o.ClaimFor == 0 {
		o.ClaimFor = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PollInterval < time.Millisecond {
		return fmt.Errorf("nearsql: RelayOptions.PollInterval is %v: want 1ms at least", o.PollInterval)
	}
	if o.ClaimFor < time.Second {
		return fmt.Errorf("nearsql: RelayOptions.ClaimFor is %v: want 1s at least", o.ClaimFor)
	}
	return nil
}

// Relay delivers what is in an outbox. Any number of relays may work on one outbox: in one
// process, or one in every server. It is safe for use by many goroutines.
type Relay struct {
	outbox  outbox
	targets map[string]*target
	opts    RelayOptions
	log     *slog.Logger

	bell    chan struct{} // has a signal if somebody rang
	running atomic.Bool
	counters

	// The rest is Run's alone.
	pause    time.Duration // after the latest failure of the database; zero: there was none
	database outage.Outage
	tended   time.Time // when the backlog was measured; zero: never
	forgot   time.Time
}

// target is a cache and how its deliveries go. But for the cache, it is Run's alone.
type target struct {
	Cache
	pause  time.Duration // after the latest failure; zero: there was none
	after  time.Time     // when the next attempt may begin
	outage outage.Outage
}

// validName are the names that a cache may have, and that need no escape in SQL.
var validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// NewRelay returns a relay that delivers the rows of these caches, by their names; nobody may
// change the map afterwards. The database must have the tables of [Schema], once the relay
// runs. The error names what is wrong with the arguments; the database is not asked.
func NewRelay(db *sql.DB, d Dialect, caches map[string]Cache, opts RelayOptions) (*Relay, error) {
	if db == nil {
		return nil, errors.New("nearsql: the database is nil")
	}
	if err := errors.Join(d.check(), opts.check()); err != nil {
		return nil, err
	}
	if len(caches) == 0 {
		return nil, errors.New("nearsql: a relay needs a cache")
	}
	r := &Relay{
		outbox:  outbox{db: db, dialect: d, claimFor: opts.ClaimFor},
		targets: make(map[string]*target, len(caches)),
		opts:    opts, log: opts.Logger, bell: make(chan struct{}, 1),
	}
	r.seen.Store(&seen{at: time.Now()})
	for name, cache := range caches {
		if !validName.MatchString(name) {
			return nil, fmt.Errorf("nearsql: %q cannot be the name of a cache", name)
		}
		if cache == nil {
			return nil, fmt.Errorf("nearsql: the cache %q is nil", name)
		}
		r.targets[name] = &target{Cache: cache}
	}
	return r, nil
}

// Ring has the relay look at once, to be called after a commit. It costs nothing, never
// blocks, and may be left out: the relay then sees the rows with its next look. While the
// database fails, it changes nothing.
func (r *Relay) Ring() {
	select {
	case r.bell <- struct{}{}:
	default: // somebody rang already
	}
}

// Run delivers until ctx ends, and returns the error of ctx. It first finishes the rows that it
// has claimed, which takes up to ClaimFor if database or cache hang. It returns earlier, with
// an error that wraps [nearcache.ErrClosed], once the node of a cache was closed: end Run
// before the node. A relay can be run again.
//
// What fails is tried again: rows of a cache whose shared tier is away, with pauses of up to
// 5 s for that cache alone; everything, with the same pauses, while the database is away.
//
// A row that can never be delivered is moved to the table nearbus_outbox_aside, counted in
// [Stats], and logged at ERROR. That is
//
//   - with the reason "invalid", one whose key or tag the cache refuses;
//   - with the reason "unknown", one of a cache or an operation that no relay knew for a
//     minute. A relay that knows both delivers it from there, within seconds.
//
// There it is kept for 7 days.
func (r *Relay) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer r.running.Store(false)
	for ctx.Err() == nil {
		more, err := r.round(context.WithoutCancel(ctx)) // what was claimed is finished
		if errors.Is(err, nearcache.ErrClosed) {
			return fmt.Errorf("nearsql: %w", err)
		}
		r.note(err)
		if !more || err != nil {
			r.wait(ctx)
		}
	}
	return ctx.Err()
}

// round claims rows and delivers them, and reports whether there may be more. The error is
// that of the database, or ErrClosed.
func (r *Relay) round(ctx context.Context) (more bool, err error) {
	if time.Since(r.tended) >= tendInterval {
		if err := r.tend(ctx); err != nil {
			return false, err
		}
	}
	caches := r.ready()
	if len(caches) == 0 {
		return false, nil
	}
	rows, err := r.outbox.claim(ctx, caches)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	fates := r.deliver(ctx, rows)
	return len(rows) == maxBatch, r.settle(ctx, fates)
}

// settle does with rows what became of them. It ends as much as it can.
func (r *Relay) settle(ctx context.Context, f fates) error {
	var errs []error
	if len(f.delivered) > 0 {
		err := r.outbox.delete(ctx, f.delivered)
		errs = append(errs, err)
		if err == nil {
			r.delivered.Add(uint64(len(f.delivered)))
		}
	}
	if len(f.failed) > 0 {
		errs = append(errs, r.outbox.release(ctx, f.failed))
	}
	errs = append(errs, r.setAside(ctx, f.unknown, reasonUnknown), r.setAside(ctx, f.invalid, reasonInvalid))
	if f.closed {
		errs = append(errs, nearcache.ErrClosed)
	}
	return errors.Join(errs...)
}

// setAside moves rows out of the way and tells.
func (r *Relay) setAside(ctx context.Context, rows []row, reason string) error {
	if len(rows) == 0 {
		return nil
	}
	if err := r.outbox.setAside(ctx, ids(rows), reason); err != nil {
		return err
	}
	r.asideTotal.Add(uint64(len(rows)))
	r.log.Error("nearsql: rows cannot be delivered and were set aside",
		"reason", reason, "rows", len(rows), "cache", rows[0].cache, "op", rows[0].op, "id", rows[0].id)
	return nil
}

// tend measures the backlog, and delivers what others set aside and this relay can deliver.
func (r *Relay) tend(ctx context.Context) error {
	if time.Since(r.forgot) >= forgetInterval {
		if err := r.outbox.forget(ctx); err != nil {
			return err
		}
		r.forgot = time.Now()
	}
	if caches := r.ready(); len(caches) > 0 {
		rows, err := r.outbox.asideOf(ctx, caches)
		if err != nil {
			return err
		}
		if f := r.deliver(ctx, rows); len(f.delivered) > 0 {
			if err := r.outbox.deleteAside(ctx, f.delivered); err != nil {
				return err
			}
			r.delivered.Add(uint64(len(f.delivered)))
		}
	}
	b, err := r.outbox.measure(ctx)
	if err != nil {
		return err
	}
	r.tended = time.Now()
	r.seen.Store(&seen{backlog: b, at: r.tended})
	return nil
}

// note takes in how a round went with the database.
func (r *Relay) note(err error) {
	if err == nil {
		r.pause = 0
		if took, over := r.database.Succeed(); over {
			r.log.Info("nearsql: the outbox is back", "after", took)
		}
		return
	}
	r.failures.Add(1)
	r.pause = longer(r.pause)
	if r.database.Fail(true) {
		r.log.Error("nearsql: the outbox cannot be read or written; trying again", "error", err)
	}
}

// ready returns the caches that rows may be claimed for.
func (r *Relay) ready() []string {
	now := time.Now()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.targets)), func(name string) bool { return r.targets[name].after.After(now) })
}

// wait waits until it is time for another round, somebody rings, or ctx ends.
func (r *Relay) wait(ctx context.Context) {
	pause, bell := r.opts.PollInterval, r.bell
	if r.pause > 0 {
		pause, bell = r.pause, nil // who rings does not make the database come back
	}
	timer := time.NewTimer(pause - rand.N(pause/10+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-bell:
	}
}

// longer returns the pause after a failure that follows one with this pause.
func longer(pause time.Duration) time.Duration { return min(max(firstPause, 2*pause), longestPause) }
