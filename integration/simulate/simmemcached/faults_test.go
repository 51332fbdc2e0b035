package simmemcached_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/simulate/simmemcached"
)

// inBubble tests a server and a client of it.
func inBubble(t *testing.T, test func(t *testing.T, server *simmemcached.Server, client *memcache.Client)) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t)
		test(t, server, newClient(t, server))
	})
}

func set(t *testing.T, client *memcache.Client, keys ...string) {
	t.Helper()
	for _, key := range keys {
		require.NoError(t, client.Set(&memcache.Item{Key: key, Value: []byte("v")}))
	}
}

func TestServer_BeginsAgainWithNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, server *simmemcached.Server, client *memcache.Client) {
		set(t, client, "a", "b")
		server.Restart()
		require.Error(t, client.Ping(), "on the connection to the old process")
		assert.Empty(t, server.Keys())
		set(t, client, "b")
		item, err := client.Get("b")
		require.NoError(t, err)
		assert.Equal(t, uint64(1), item.CasID, "it counts from the beginning")
	})
}

func TestServer_IsDownUntilItBeginsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, server *simmemcached.Server, client *memcache.Client) {
		server.Stop()
		require.Error(t, client.Ping())
		server.Restart()
		require.NoError(t, client.Ping())
	})
}

func TestServer_StandsStill(t *testing.T) {
	inBubble(t, func(t *testing.T, server *simmemcached.Server, client *memcache.Client) {
		client.Timeout = time.Second
		server.Freeze()
		began := time.Now()
		require.Error(t, client.Ping())
		assert.Equal(t, time.Second, time.Since(began))
		server.Thaw()
		require.NoError(t, client.Ping())
	})
}

func TestServer_EvictsWhatWasUsedLeastLately(t *testing.T) {
	inBubble(t, func(t *testing.T, server *simmemcached.Server, client *memcache.Client) {
		set(t, client, "a", "b", "c")
		_, err := client.Get("a")
		require.NoError(t, err)
		assert.Equal(t, []string{"b"}, server.Evict(1))
		server.SetMaxMemory(server.Memory())
		set(t, client, "d")
		assert.Equal(t, []string{"a", "d"}, server.Keys())
		assert.Equal(t, 1, server.Remove("a", "nosuch"))
		server.FlushAll()
		assert.Zero(t, server.Memory())
	})
}

func TestServer_RefusesCommands(t *testing.T) {
	inBubble(t, func(t *testing.T, server *simmemcached.Server, client *memcache.Client) {
		server.Refuse("set", "SERVER_ERROR out of memory storing object")
		require.ErrorContains(t, client.Set(&memcache.Item{Key: "a"}), "out of memory")
		server.Refuse("set", "")
		set(t, client, "a")
	})
}

// Memcached looks at the time of day when it starts, and counts seconds from then on.
func TestServer_HasAClockOfItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, server *simmemcached.Server, client *memcache.Client) {
		in := func(d time.Duration) error {
			_ = client.Set(&memcache.Item{Key: "a", Value: []byte("v"), Expiration: int32(time.Now().Add(d).Unix())})
			_, err := client.Get("a")
			return err
		}
		require.NoError(t, in(time.Hour))
		server.SetClock(2 * time.Hour)
		require.NoError(t, in(time.Hour))
		server.Restart()
		_ = client.Ping() // ends the old connection
		require.ErrorIs(t, in(time.Hour), memcache.ErrCacheMiss)
		require.NoError(t, in(3*time.Hour))
	})
}

func TestServer_CountsWhatItDoesNotKnow(t *testing.T) {
	inBubble(t, func(t *testing.T, server *simmemcached.Server, client *memcache.Client) {
		_, err := client.Increment("a", 1)
		require.Error(t, err)
		assert.Equal(t, map[string]int{"incr": 1}, server.Unknown())
	})
}

func TestServer_LeavesNothingBehind(t *testing.T) {
	for name, harm := range map[string]func(server *simmemcached.Server, near net.Conn){
		"the client goes":   func(_ *simmemcached.Server, near net.Conn) { _ = near.Close() },
		"the server goes":   func(server *simmemcached.Server, _ net.Conn) { server.Close() },
		"a frozen one goes": func(server *simmemcached.Server, _ net.Conn) { server.Close() },
		"it begins again":   func(server *simmemcached.Server, _ net.Conn) { server.Restart() },
	} {
		for what, sent := range map[string]string{
			"nothing": "", "half": "set a 0 0 100\r\nabc", "whole": "version\r\n", "quit": "quit\r\n",
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := simmemcached.New(simmemcached.Options{})
					if name == "a frozen one goes" {
						server.Freeze()
					}
					near, far := net.Pipe()
					done := make(chan bool)
					go func() {
						server.Serve(far)
						close(done)
					}()
					_, err := near.Write([]byte(sent))
					require.NoError(t, err)
					synctest.Wait()
					harm(server, near)
					<-done // or the bubble says that it never is
				})
			})
		}
	}
}
