package shared

import (
	"errors"

	"github.com/nearbus/nearbus/shared/driver"
)

// Errors that a caller decides on. Compare with [errors.Is]. The first three are
// errors of package nearcache as well.
var (
	// ErrNotFound is returned by reads when there is no live value.
	ErrNotFound = driver.ErrNotFound

	// ErrInvalidKey is returned by every method for a key that is empty or
	// longer than MaxKeySize. Nothing was sent.
	ErrInvalidKey = errors.New("nearbus: invalid key")

	// ErrTooLarge is returned by writes when the record exceeds the limit of
	// the Tier or the store. Nothing was stored.
	ErrTooLarge = driver.ErrTooLarge

	// ErrLeaseLost is returned by Fill when the lease is no longer in its
	// place: another write ended it, or it expired. Nothing was stored.
	ErrLeaseLost = driver.ErrLeaseLost

	// ErrTooLate is returned by writes that reached the store after their
	// deadline, together with [context.DeadlineExceeded]. Nothing was stored.
	ErrTooLate = driver.ErrTooLate

	// ErrUnread is the error of one key of a Tier.Read that read others: the
	// server of that key failed. It wraps the error of the store.
	ErrUnread = errors.New("shared: key not read")

	// ErrUnavailable is wrapped by stores around an answer of a server that is
	// not ready: it loads its data, or another becomes the primary. A Tier tries
	// again, as it does when a connection fails.
	ErrUnavailable = driver.ErrUnavailable

	// ErrRefused is wrapped by stores around an answer of a server that takes no writes,
	// with why and what to do. Reads may be answered.
	ErrRefused = driver.ErrRefused

	// ErrFull is wrapped by stores, beside ErrRefused, around an answer of a server that
	// has no room for what was to be stored.
	ErrFull = driver.ErrFull

	// ErrClosed is returned by every method after Close.
	ErrClosed = driver.ErrClosed

	// ErrNewerFormat is returned by [driver.DecodeRecord] for a record that a newer
	// version of this library wrote.
	ErrNewerFormat = driver.ErrNewerFormat
)
