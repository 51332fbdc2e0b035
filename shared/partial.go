package shared

import (
	"errors"

	"github.com/nearbus/nearbus/shared/driver"
)

// partOf returns the error of each key if err is that of a read of n keys some
// of which were read.
func partOf(err error, n int) (errs []error, ok bool) {
	if err == nil {
		return nil, false
	}
	var partial *driver.PartialError
	if !errors.As(err, &partial) || len(partial.Errs) != n {
		return nil, false
	}
	return partial.Errs, true
}
