package driver

import "errors"

// Errors that a store wraps, so that callers can decide on them. Compare with [errors.Is].
var (
	// ErrNotFound is for reads of what is not there.
	ErrNotFound = errors.New("nearbus: not found")

	// ErrTooLarge is for writes of a record that exceeds the limit of the store. Nothing was
	// stored.
	ErrTooLarge = errors.New("nearbus: value too large")

	// ErrLeaseLost is for fills whose lease is no longer in its place: another write ended
	// it, or it expired. Nothing was stored.
	ErrLeaseLost = errors.New("shared: lease lost")

	// ErrTooLate is for writes that reached the store after their deadline, together with
	// [context.DeadlineExceeded]. Nothing was stored.
	ErrTooLate = errors.New("shared: write arrived after its deadline")

	// ErrUnavailable is for the answer of a server that is not ready: it loads its data, or
	// another becomes the primary. The caller tries again, as when a connection fails.
	ErrUnavailable = errors.New("shared: server is not ready")

	// ErrRefused is for the answer of a server that takes no writes, with why and what to
	// do. Reads may be answered.
	ErrRefused = errors.New("shared: server refuses writes")

	// ErrFull is, beside ErrRefused, for the answer of a server that has no room for what
	// was to be stored.
	ErrFull = errors.New("shared: server is full")

	// ErrClosed is for every call after the store or its client was closed.
	ErrClosed = errors.New("shared: closed")

	// ErrNoJournal says that the store keeps no journal.
	ErrNoJournal = errors.New("shared: the store keeps no journal")

	// ErrCorrupt is returned by DecodeRecord for bytes that are not a whole record.
	ErrCorrupt = errors.New("shared: corrupt record")

	// ErrNewerFormat is returned by DecodeRecord for a record that a newer version of this
	// library wrote.
	ErrNewerFormat = errors.New("shared: record of a newer format")
)
