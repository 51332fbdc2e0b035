package driver

import (
	"fmt"
)

// PartialError is the error of a [Store.Read] that read some of its keys and
// not others, because they are on several servers and not all of them answered.
type PartialError struct {
	// Errs has an error for each key, in the order of keys; nil for one that
	// was read. At least one is nil and at least one is not.
	Errs []error
}

// Partial returns what the Read of several keys returns: nil if all were read,
// the first error if none was, and a [PartialError] otherwise. It is for drivers
// and keeps errs.
func Partial(errs []error) error {
	failed, first := 0, error(nil)
	for _, err := range errs {
		if err != nil && failed == 0 {
			first = err
		}
		if err != nil {
			failed++
		}
	}
	if failed == 0 || failed == len(errs) {
		return first
	}
	return &PartialError{Errs: errs}
}

// Error tells how many keys were not read, and why the first was not.
func (e *PartialError) Error() string {
	failures := e.Unwrap()
	if len(failures) == 0 {
		return "shared: 0 keys not read"
	}
	return fmt.Sprintf("shared: %d of %d keys not read: %v", len(failures), len(e.Errs), failures[0])
}

// Unwrap returns the errors of the keys that were not read.
func (e *PartialError) Unwrap() []error {
	var failures []error
	for _, err := range e.Errs {
		if err != nil {
			failures = append(failures, err)
		}
	}
	return failures
}
