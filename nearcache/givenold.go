package nearcache

import (
	"context"
	"errors"
	"time"
)

const (
	// slowPatience is how long no load may end well before it is told that old values are
	// given because loads are slow: one that is slow now and then is no outage.
	slowPatience = 10 * time.Second

	// loadsQuiet is how long no load may fail, with an old value in its place, for that to
	// be over.
	loadsQuiet = time.Minute
)

// errSlow is why a caller gets an old value after Options.SoftTimeout.
var errSlow = errors.New("nearcache: the load takes longer than SoftTimeout")

// gaveOld takes in that a caller was given an old value, because of err. Loaders' errors may
// carry a value or a credential, so the log is not told what they say.
func (k *keyspace) gaveOld(err error) {
	if k.node.ctx.Err() != nil || !k.failing.Fail(!errors.Is(err, errSlow)) {
		return
	}
	k.node.opts.Logger.Warn("nearcache: old values are given, because loads fail", "cache", k.name, "reason", whyOld(err))
}

// whyOld says what became of a load, and nothing of what its loader said.
func whyOld(err error) string {
	var panicked *PanicError
	switch {
	case errors.Is(err, errSlow):
		return "the loader takes longer than SoftTimeout"
	case errors.Is(err, errUnrefreshed):
		return "another server could not load"
	case errors.As(err, &panicked):
		return "the loader panicked"
	case errors.Is(err, context.DeadlineExceeded):
		return "the loader did not return in time"
	}
	return "the loader returned an error"
}

// loadsAgain takes in that a load ended well.
func (k *keyspace) loadsAgain() {
	if took, over := k.failing.Succeed(); over {
		k.node.opts.Logger.Info("nearcache: loads succeed again", "cache", k.name, "after", took)
	}
}
