//go:build nearbus_faults

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nearbus/nearbus/nearcache/nearcachetest"
)

// switches are what can be taken out, by name.
var switches = map[string][]nearcachetest.Mechanism{
	"marks":        {nearcachetest.Marks, nearcachetest.CacheMark, nearcachetest.TagMarks},
	"own":          {nearcachetest.OwnWrites},
	"news":         {nearcachetest.PassedNews},
	"joins":        {nearcachetest.Joins},
	"tags":         {nearcachetest.TagMarks, nearcachetest.Watermarks},
	"journal":      {nearcachetest.Journal},
	"confirmation": {nearcachetest.Confirmation},
	"leases":       {nearcachetest.Leases},
	"floors":       {nearcachetest.Floors},
	"debts":        {nearcachetest.Debts},
}

func mechanisms() []string { return slices.Sorted(maps.Keys(switches)) }

// takeOut takes mechanisms out of the nodes of this process.
func takeOut(names []string) error {
	var out []nearcachetest.Mechanism
	for _, name := range names {
		m, ok := switches[name]
		if !ok {
			return fmt.Errorf("checker: there is no mechanism %q; there are: %s", name, strings.Join(mechanisms(), ", "))
		}
		out = append(out, m...)
	}
	nearcachetest.Break(nearcachetest.Without(out...))
	return nil
}
