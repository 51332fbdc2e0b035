package memcachestore

// What the tests of this package look into.
var (
	Expiration = expiration
	Name       = (*Store).name
)
