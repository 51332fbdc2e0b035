package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nearbus/nearbus/nearcache/nearcachetest"
)

// switches are what can be switched off, by name.
var switches = map[string]func(*nearcachetest.Faults){
	"marks":        func(f *nearcachetest.Faults) { f.IgnoreMarks = true },
	"own":          func(f *nearcachetest.Faults) { f.TrustOwnWrites = true },
	"news":         func(f *nearcachetest.Faults) { f.PassUnseen = true },
	"flights":      func(f *nearcachetest.Faults) { f.JoinAny = true },
	"tags":         func(f *nearcachetest.Faults) { f.NoTagMarks, f.NoTagClock = true, true },
	"journal":      func(f *nearcachetest.Faults) { f.NoJournal = true },
	"confirmation": func(f *nearcachetest.Faults) { f.NoConfirmation = true },
	"leases":       func(f *nearcachetest.Faults) { f.NoLeases = true },
	"floors":       func(f *nearcachetest.Faults) { f.NoFloors = true },
	"debts":        func(f *nearcachetest.Faults) { f.NoDebts = true },
}

func mechanisms() []string { return slices.Sorted(maps.Keys(switches)) }

func switchedOff(names string) (off nearcachetest.Faults, err error) {
	for name := range strings.SplitSeq(names, ",") {
		if name == "" {
			continue
		}
		set, ok := switches[name]
		if !ok {
			return off, fmt.Errorf("checker: there is no mechanism %q; there are: %s", name, strings.Join(mechanisms(), ", "))
		}
		set(&off)
	}
	return off, nil
}
