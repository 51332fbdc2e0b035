// Package fault switches mechanisms of nearcache off, so that tests can show
// what each is for.
package fault

import "sync/atomic"

// Set says what is switched off. The zero Set is what users get.
type Set struct {
	IgnoreMarks    bool // install values whatever was invalidated while they were loaded
	TrustOwnWrites bool // install own writes whatever came between send and answer
	PassUnseen     bool // give fenced values away and keep older ones
	JoinAny        bool // join loads that began before an invalidation
	NoTagMarks     bool // keep values near whatever tag was invalidated
	NoTagClock     bool // take records for live whatever tag was invalidated
	NoJournal      bool // do as if the shared tier kept none
	NoConfirmation bool // believe the shared tier before its journal was read
	NoLeases       bool // load and store without a lease
	NoFloors       bool // forget what was loaded and not stored
	NoBarriers     bool // answer at once whether everything has been applied
	NoExpectation  bool // replace whatever is there when a value is refreshed
	NoDebts        bool // forget what could not be delivered
}

var process atomic.Pointer[Set]

// InProcess returns what is switched off for new nodes of this process.
func InProcess() Set {
	if s := process.Load(); s != nil {
		return *s
	}
	return Set{}
}

// SetInProcess switches mechanisms off for the nodes of this process that are
// opened from now on.
func SetInProcess(s Set) { process.Store(&s) }
