// Package migrate has one job, done with seven caches: several servers read users by their
// ids, from a cache or else from a database, and change users.
//
//	users         the database, and what a server needs of a cache
//	gorediscache  with github.com/go-redis/cache/v9
//	goredis       with the cache that go-redis has built into its client
//	rueidis       with DoCache of rueidis
//	gocache       with a chain of github.com/eko/gocache
//	ristretto     with ristretto, and messages over Redis pub/sub made by hand
//	lru           with the expirable LRU of hashicorp/golang-lru
//	nearbus       with nearbus, the end of every move
//	move          with an old and a new cache side by side, for a move of a fleet that runs
//
// The tests run the same behaviour over all of them, say which server has an old user for how
// long, and move a fleet. docs/migrate.md tells what comes of it.
package migrate
