package servers

import (
	"strconv"
	"strings"
)

// Environment variables that name the programs to start instead of redis-server and memcached: a
// path, or a name to be found in PATH.
const (
	RedisVariable     = "REDIS_SERVER"
	MemcachedVariable = "MEMCACHED"
)

// redisProgram is redis-server, or what [RedisVariable] names.
func redisProgram(env func(dir string) ([]string, error), args func(port int, dir string) []string) program {
	p := program{
		name: nameOf(RedisVariable, "redis-server"), variable: RedisVariable, env: env, args: args,
		request: "PING\r\nINFO server\r\n", pidLabel: "process_id:",
	}
	if dialect := redisDialect(); dialect == "dragonfly" || dialect == "garnet" {
		p.pid = redisPong // neither says its process id
	}
	return p
}

// redisDialect returns which server takes arguments of its own, "" for one that takes those of
// redis-server.
func redisDialect() string {
	name := strings.ToLower(nameOf(RedisVariable, ""))
	for _, known := range []string{"dragonfly", "garnet", "kvrocks"} {
		if strings.HasPrefix(name, known) {
			return known
		}
	}
	return ""
}

// redisArgs returns the arguments of a server that keeps its data in memory only. What a test
// adds are options of redis-server: a server that does not know one ends, and the test fails.
func redisArgs(port int, dir string) []string {
	number := strconv.Itoa(port)
	switch redisDialect() {
	case "dragonfly":
		return []string{"--bind=127.0.0.1", "--port=" + number, "--dir=" + dir, "--dbfilename="}
	case "garnet":
		return []string{
			"--bind", "127.0.0.1", "--port", number, "--logdir", dir, "--checkpointdir", dir,
			"--lua", "--lua-transaction-mode", // without the latter, scripts are not atomic
		}
	case "kvrocks":
		return []string{"--bind", "127.0.0.1", "--port", number, "--dir", dir}
	}
	return []string{"--bind", "127.0.0.1", "--port", number, "--dir", dir, "--save", ""}
}

// redisPong returns the process id of the child once the server on its address answers. Another
// server on the port is told from it only by the end of the child, which cannot listen there.
func redisPong(addr, _ string, child int) (int, error) {
	return child, ping(addr)
}
