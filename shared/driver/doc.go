// Package driver is the part of a shared tier below [shared.Tier]: the contract [Store]
// of a driver, its optional parts, and the format of records. Callers of the shared
// tier use package shared, and need nothing of this package.
//
// A driver implements Store, and wraps the errors of this package. A driver may
// implement more:
//
//	Journaler   keeps a journal of writes, from which nodes repair losses of the bus
//	Recaller    has journals that can be read from their ends
//	Prover      has reads that tell how new the answering server is
//	Announcer   publishes a message in the same step as it writes
//	Toucher     gives a value a later end, and changes nothing else of it
//	Clocked     takes revisions from the clocks of its servers
//	Sweeper     takes watermarks away, and lets none fall
//	Placed      has a client that decides which server a key is on
//	Named       knows its namespace
//
// A driver passes the suite of package storetest, which has a case for each promise.
//
// [shared.Tier]: https://pkg.go.dev/github.com/nearbus/nearbus/shared#Tier
package driver
