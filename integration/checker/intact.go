//go:build !nearbus_faults

package main

import "errors"

func mechanisms() []string { return []string{"build with -tags nearbus_faults to see them"} }

// takeOut takes mechanisms out of the nodes of this process, if there are any to be
// taken out.
func takeOut(names []string) error {
	if len(names) > 0 {
		return errors.New("checker: mechanisms are taken out only of programs that are built with -tags nearbus_faults, as make checker OFF= does")
	}
	return nil
}
