package journal

import (
	"errors"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// ErrBehind is why a read is not believed.
var ErrBehind = errors.New("the server that answered is not the one that has the latest writes")

// Epoch returns the epoch of a partition, 0 if it is not known.
func (f *Follower) Epoch(partition int) uint64 { return f.epochs[partition].Load() }

// HasEpoch reports whether this is the epoch of another partition than that.
func (f *Follower) HasEpoch(partition int, epoch uint64) bool {
	for p := range f.epochs {
		if p != partition && f.epochs[p].Load() == epoch {
			return true
		}
	}
	return false
}

// Losses returns how often the shared tier turned out to have lost writes, or may have.
func (f *Follower) Losses() uint64 { return f.losses.Load() }

// Lost says that the shared tier may have lost writes, and has the journals read at once.
func (f *Follower) Lost() {
	f.losses.Add(1)
	f.Trigger()
}

// Applied returns up to where the journal of a partition was applied, nil if it was not read.
func (f *Follower) Applied(partition int) *driver.Revision { return f.applied[partition].Load() }

// Err returns why the last round failed, nil if it did not, or if there was none.
func (f *Follower) Err() error {
	if err := f.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Stats counts what a follower did.
type Stats struct {
	Rounds, Failures uint64
	Repaired, Resets uint64
	Slowest          time.Duration // longest time from when a round was due to its end
}

// Stats returns the counts.
func (f *Follower) Stats() Stats {
	last, _, _ := f.rounds.now()
	return Stats{
		Rounds: last, Failures: f.failures.Load(), Slowest: time.Duration(f.slowest.Load()),
		Repaired: f.countUnheard(), Resets: f.resets.Load(),
	}
}
