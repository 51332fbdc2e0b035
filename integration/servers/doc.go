// Package servers starts the real servers that tests and demonstrations run
// against: Redis, Redis Cluster, Memcached, NATS and a NATS cluster, databases, Prometheus, and a
// [Relay] to break the way to them.
//
// Every server comes in two forms. [Redis], [RedisCluster], [Memcached], [NATS]
// and [RelayTo] take a test, fail it when the server does not start and stop
// the server when the test ends. [StartRedis] and its siblings return an error
// and leave it to the caller to call Stop; they are for TestMain and commands.
//
//	server := servers.Redis(t, "--maxmemory", "10mb")
//	client := redis.NewClient(&redis.Options{Addr: server.Addr})
//
// A server listens on a free loopback port, keeps what it writes in a
// directory of its own and has answered before it is handed out. It keeps its
// port across Kill and Restart. Stop ends exactly the process that was started;
// on Linux the process also ends when the process that started it dies.
//
// The variables of the environment [RedisVariable] and [MemcachedVariable] name other programs than
// redis-server and memcached: another version, or another server with the same protocol.
//
// A server program that is not installed is an error that names the command
// that installs it, never a skipped test.
package servers
