package coherence

import (
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/nearcache/internal/near"
	"github.com/nearbus/nearbus/shared"
)

// Verdict is what a read would meet, and why.
type Verdict struct {
	Outcome string
	Why     string
	By      *Heard // the message that told of what ended the value; nil if none is remembered
}

// The outcomes of a read.
const (
	OutcomeHit       = "hit"
	OutcomeSharedHit = "shared hit"
	OutcomeStale     = "stale"
	OutcomeMiss      = "miss"
	OutcomeRefused   = "refused"
)

// Reading is what the owner of a keyspace makes of its records.
type Reading struct {
	HeedsAbsence bool // a record that says that there is no value is an answer
	Unreadable   bool // there is no codec for this record
	Refused      bool // the codec refuses this record
}

// Verdict returns what a read without a loader would meet: seen is what is near, sight the
// rest.
func (k *Keyspace) Verdict(seen *near.Peek, sight *Sight, r Reading) Verdict {
	hit := func(why string) Verdict { return Verdict{Outcome: OutcomeHit, Why: why} }
	absent := seen.Entry != nil && seen.Entry.Extra() != nil && seen.Entry.Extra().Absent
	switch {
	case absent && seen.Use == near.Serve:
		return hit("the near tier remembers that the source has no value")
	case seen.Hit:
		return hit("the near tier has the value, and this node knows of nothing that ended it")
	case seen.Use == near.Serve:
		return hit("the near tier has the value, which is about to expire: a read with a loader refreshes it in the background")
	case seen.Use == near.Stale && seen.Resting > k.node.Near.Now():
		return Verdict{Outcome: OutcomeStale, Why: "the near tier has an old value, and an attempt to get another failed a moment ago"}
	}
	v := k.sharedVerdict(sight, r)
	if v.Outcome == OutcomeRefused && seen.Use == near.Stale {
		v.Outcome = OutcomeStale
	}
	v.Why = k.nearMiss(seen) + ", and " + v.Why
	return v
}

// nearMiss says why the near tier is no answer.
func (k *Keyspace) nearMiss(seen *near.Peek) string {
	switch {
	case seen.Entry == nil:
		return "nothing is near"
	case seen.Until == 0:
		return "what is near was invalidated"
	case seen.Ended:
		return "what is near was ended by a Clear, a tag or a flush"
	case seen.Until <= k.node.Near.Now():
		return "what is near expired"
	}
	return "what is near is not believed: the journal was not read for " + k.node.Trust().Behind.Round(time.Millisecond).String()
}

// sharedVerdict says what a read of the shared tier would meet.
func (k *Keyspace) sharedVerdict(sight *Sight, r Reading) Verdict {
	refused := func(why string) Verdict { return Verdict{Outcome: OutcomeRefused, Why: why} }
	switch err := sight.Failure; {
	case k.node.Tier == nil:
		return Verdict{Outcome: OutcomeMiss, Why: "there is no shared tier"}
	case sight.Pending:
		return refused("the shared tier is not read: an earlier write of the key by this node is not confirmed")
	case errors.Is(err, errUnverified):
		return refused("a read waits for the journal first: " + err.Error())
	case errors.Is(err, shared.ErrOpen):
		return refused("the shared tier is not read: its breaker is open")
	case err != nil:
		return refused("the shared tier is not believed, or cannot be read: " + err.Error())
	}
	fate, text := sight.Stored.Fate, "the shared tier has no value: "+sight.Stored.Fate.String()
	switch fate {
	case FateLive, FateNegative:
		return k.liveVerdict(sight, r)
	case FateTagged:
		return Verdict{OutcomeMiss, text, k.heardOfSlot(sight.Stored.Slot)}
	case FateCleared:
		return Verdict{OutcomeMiss, text, k.heardOfClear()}
	}
	return Verdict{Outcome: OutcomeMiss, Why: text}
}

// liveVerdict is sharedVerdict for a record that lives, as far as the shared tier tells.
func (k *Keyspace) liveVerdict(sight *Sight, r Reading) Verdict {
	miss := func(why string, by *Heard) Verdict { return Verdict{OutcomeMiss, why, by} }
	record, negative := &sight.Stored.Record, sight.Stored.Fate == FateNegative
	switch {
	case sight.Ended == NewsClear:
		return miss("the record is older than a Clear that this node knows of", k.heardOfClear())
	case sight.Ended == NewsTag:
		return miss("the record is older than the invalidation of a tag that this node knows of", k.heardOfSlot(sight.Slot))
	case sight.Ended == NewsLoss:
		return miss("the record is from before the shared tier lost writes", nil)
	case sight.Ended == NewsGiven:
		return miss("the record is older than what this node has given to callers and could not store", nil)
	case negative && !r.HeedsAbsence:
		return miss("the shared tier says that the source has no value, which this cache does not heed: NotFoundTTL is 0", nil)
	case negative:
		return Verdict{Outcome: OutcomeSharedHit, Why: "the shared tier remembers that the source has no value"}
	case r.Unreadable:
		return miss(fmt.Sprintf("the record has codec %d and schema %d, of which this cache reads none (it writes %d and %d)",
			record.Codec, record.Schema, k.Options.Codec, k.Options.Schema), nil)
	case r.Refused: // what the codec says may carry the value
		return miss("the codec refuses the record, which may be of another type", nil)
	}
	return Verdict{Outcome: OutcomeSharedHit, Why: "the shared tier has the value"}
}
