package servers_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

const (
	patience = 30 * time.Second
	poll     = 5 * time.Millisecond
)

func redisClient(t *testing.T, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func redisPID(t *testing.T, client *redis.Client) int {
	info, err := client.InfoMap(t.Context(), "server").Result()
	require.NoError(t, err)
	pid, err := strconv.Atoi(info["Server"]["process_id"])
	require.NoError(t, err)
	return pid
}

func gone(pid int) bool {
	return syscall.Kill(pid, 0) != nil
}

func TestRedis_KeepsDataInMemoryOnly(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	client := redisClient(t, server.Addr)
	require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())

	require.NoError(t, server.Restart(t.Context()))

	assert.ErrorIs(t, client.Get(t.Context(), "key").Err(), redis.Nil)
}

func TestRedis_KeepsDataAcrossRestartIfAsked(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--appendonly", "yes")
	client := redisClient(t, server.Addr)
	require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())

	require.NoError(t, server.Restart(t.Context()))

	assert.Equal(t, "value", client.Get(t.Context(), "key").Val())
}

func TestProcess_KillAndRestartKeepThePort(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	client := redisClient(t, server.Addr)
	first := redisPID(t, client)

	server.Kill()
	assert.True(t, gone(first))
	assert.Error(t, client.Ping(t.Context()).Err())
	assert.ErrorIs(t, server.Pause(), servers.ErrStopped)
	assert.ErrorIs(t, server.Resume(), servers.ErrStopped)

	require.NoError(t, server.Restart(t.Context()))
	assert.NotEqual(t, first, redisPID(t, client))
}

func TestProcess_PauseAnswersNothingUntilResume(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	client := redisClient(t, server.Addr)
	require.NoError(t, client.Ping(t.Context()).Err())

	require.NoError(t, server.Pause())
	var timeout net.Error
	require.ErrorAs(t, client.WithTimeout(silence).Ping(t.Context()).Err(), &timeout)
	require.True(t, timeout.Timeout())

	require.NoError(t, server.Resume())
	assert.NoError(t, client.Ping(t.Context()).Err())
}

func TestProcess_RestartsWhilePaused(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	require.NoError(t, server.Pause())

	require.NoError(t, server.Restart(t.Context()))

	assert.NoError(t, redisClient(t, server.Addr).Ping(t.Context()).Err())
}

func TestProcess_StopEndsTheProcessForGood(t *testing.T) {
	t.Parallel()
	server, err := servers.StartRedis(t.Context())
	require.NoError(t, err)
	client := redisClient(t, server.Addr)
	pid := redisPID(t, client)
	dir := client.ConfigGet(t.Context(), "dir").Val()["dir"]
	require.DirExists(t, dir)

	server.Stop()
	server.Stop()

	assert.True(t, gone(pid))
	assert.NoDirExists(t, dir)
}

func TestStart_ShowsWhatARefusingServerPrinted(t *testing.T) {
	t.Parallel()
	_, err := servers.StartRedis(t.Context(), "--no-such-option", "1")
	assert.ErrorContains(t, err, "redis-server")
	assert.ErrorContains(t, err, "no-such-option")
}

func TestStart_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := servers.StartRedis(ctx)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestStart_NamesTheCommandThatInstallsAMissingServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, start := range map[string]func(context.Context, ...string) (*servers.Process, error){
		"redis-server": servers.StartRedis,
		"memcached":    servers.StartMemcached,
	} {
		_, err := start(t.Context())
		assert.ErrorContains(t, err, name+" is not installed; run `make deps`")
	}
	_, err := servers.StartRedisCluster(t.Context(), 3)
	assert.ErrorContains(t, err, "make deps")
}

func TestMemcached_TakesTheServersArguments(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	item := &memcache.Item{Key: "big", Value: make([]byte, size)}

	client := memcache.New(servers.Memcached(t).Addr)
	assert.Error(t, client.Set(item))

	client = memcache.New(servers.Memcached(t, "-I", "8m", "-m", "128").Addr)
	require.NoError(t, client.Set(item))
	got, err := client.Get("big")
	require.NoError(t, err)
	assert.Len(t, got.Value, size)
}

// orphanEnv makes the test binary start a server, print its process id and
// wait to be killed.
const orphanEnv = "SERVERS_TEST_ORPHAN"

func TestProcess_EndsWithTheProcessThatStartedIt(t *testing.T) {
	t.Parallel()
	if os.Getenv(orphanEnv) != "" {
		leaveOrphan(t)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), orphanEnv+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	require.False(t, gone(pid))

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	assert.Eventually(t, func() bool { return gone(pid) }, patience, poll)
}

func leaveOrphan(t *testing.T) {
	server := servers.Redis(t)
	pid := redisPID(t, redisClient(t, server.Addr))
	_, _ = os.Stdout.WriteString(strconv.Itoa(pid) + "\n")
	select {}
}

func TestServers_ListenOnLoopbackOutsideTheEphemeralRange(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{
		servers.Redis(t).Addr, servers.Memcached(t).Addr, servers.NATS(t).Addr,
	} {
		host, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		number, err := strconv.Atoi(port)
		require.NoError(t, err)
		assert.Equal(t, "127.0.0.1", host)
		assert.Less(t, number, 32768)
	}
}

func TestProcess_IsNotMistakenForAnotherOnItsPort(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	server.Kill()
	impostor, err := net.Listen("tcp", server.Addr)
	require.NoError(t, err)
	defer impostor.Close()
	// Ends with the listener, which the test closes.
	go func() {
		for {
			conn, err := impostor.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("process_id:1\r\n"))
			_ = conn.Close()
		}
	}()

	assert.ErrorContains(t, server.Restart(t.Context()), "process ended")
}
