// Package driver is what a shared tier is made of below [shared.Tier]: the contract [Store]
// that a driver fills, its optional parts, and the format of records. Callers of the shared
// tier need none of it; they use package shared.
//
// A driver implements Store, and wraps the errors of this package. It may implement more:
//
//	Journaler   it keeps a journal of its writes, from which nodes repair what the bus lost
//	Prover      its reads tell how new the server is that answered them
//	Announcer   it publishes a message in the same step as it writes
//	Clocked     its revisions come from the clocks of its servers
//	Placed      its client decides which server a key is on
//	Named       it knows the namespace that it was given
//
// A driver passes the suite of package storetest, which has a case for each promise.
//
// [shared.Tier]: https://pkg.go.dev/github.com/nearbus/nearbus/shared#Tier
package driver
