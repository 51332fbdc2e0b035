package main

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// acquit judges the code as it is with everything that chosen mutants meet. It must
// survive: nothing is known of a mutant that is killed by what kills everything.
func (c *court) acquit(ctx context.Context, w io.Writer, chosen []mutant, done *results) error {
	if done.has(id{}) {
		return nil
	}
	var suites []suite
	for i := range chosen {
		for _, s := range c.suites(chosen[i].File) {
			if !slices.Contains(suites, s) {
				suites = append(suites, s)
			}
		}
	}
	r, err := c.judge(ctx, nil, suites)
	if err != nil {
		return err
	}
	if r.Verdict != survived {
		return fmt.Errorf("the code as it is does not pass: %s: %s", r.Verdict, r.How)
	}
	fmt.Fprintf(w, "the code as it is survives, also %d runs of the simulator\n", r.Runs)
	return done.add(r)
}
