package simredis_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/simulate/simredis"
)

// inBubble tests a server and a client of it.
func inBubble(t *testing.T, options simredis.Options, test func(t *testing.T, server *simredis.Server, client *redis.Client)) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, options)
		test(t, server, newClient(t, server))
	})
}

func set(t *testing.T, client *redis.Client, keys ...string) {
	t.Helper()
	for _, key := range keys {
		require.NoError(t, client.Set(t.Context(), key, "v", 0).Err())
	}
}

func infoOf(t *testing.T, client *redis.Client, field string) string {
	t.Helper()
	text, err := client.Info(t.Context()).Result()
	require.NoError(t, err)
	_, after, found := strings.Cut(text, field+":")
	require.True(t, found, field)
	value, _, _ := strings.Cut(after, "\r\n")
	return value
}

func TestServer_BeginsAgainFromASnapshot(t *testing.T) {
	inBubble(t, simredis.Options{}, func(t *testing.T, server *simredis.Server, client *redis.Client) {
		set(t, client, "before")
		run, snapshot := server.RunID(), server.Snapshot()
		script := client.ScriptLoad(t.Context(), "return 1").Val()
		set(t, client, "after")

		server.Restart(snapshot)
		require.Error(t, client.Ping(t.Context()).Err(), "on the connection to the old process")
		assert.Equal(t, []string{"before"}, server.Keys())
		assert.NotEqual(t, run, infoOf(t, client, "run_id"))
		assert.Equal(t, []bool{false}, client.ScriptExists(t.Context(), script).Val())
		set(t, client, "after")

		server.Restore(snapshot)
		assert.Equal(t, []string{"before"}, server.Keys())
		assert.Equal(t, run, server.RunID())

		server.Restart(nil)
		assert.Empty(t, server.Keys())
	})
}

func TestServer_IsDownUntilItBeginsAgain(t *testing.T) {
	inBubble(t, simredis.Options{}, func(t *testing.T, server *simredis.Server, client *redis.Client) {
		set(t, client, "a")
		server.Stop()
		require.Error(t, client.Ping(t.Context()).Err())
		require.Error(t, client.Ping(t.Context()).Err())
		server.Restart(nil)
		require.NoError(t, client.Ping(t.Context()).Err())
	})
}

func TestServer_StandsStill(t *testing.T) {
	inBubble(t, simredis.Options{}, func(t *testing.T, server *simredis.Server, client *redis.Client) {
		set(t, client, "a")
		server.Freeze()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, client.Get(ctx, "a").Err())
		assert.Equal(t, time.Second, time.Since(began))
		time.AfterFunc(time.Second, server.Thaw)
		require.NoError(t, client.Get(t.Context(), "a").Err())
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}

func TestServer_HasAClockOfItsOwn(t *testing.T) {
	inBubble(t, simredis.Options{}, func(t *testing.T, server *simredis.Server, client *redis.Client) {
		require.NoError(t, client.Set(t.Context(), "a", "v", time.Minute).Err())
		server.SetClock(-time.Hour)
		assert.True(t, client.Time(t.Context()).Val().Equal(time.Now().Add(-time.Hour)))
		assert.Equal(t, 61*time.Minute, client.PTTL(t.Context(), "a").Val())
		server.SetClock(2 * time.Minute)
		assert.ErrorIs(t, client.Get(t.Context(), "a").Err(), redis.Nil)
	})
}

func TestServer_RefusesCommands(t *testing.T) {
	inBubble(t, simredis.Options{}, func(t *testing.T, server *simredis.Server, client *redis.Client) {
		set := func() (outside, inside string) {
			outside = client.Do(t.Context(), "SET", "a", "v").String()
			return outside, client.Eval(t.Context(), "return redis.pcall('set', 'a', 'v')", nil).String()
		}
		server.Refuse("SET", "LOADING Redis is loading the dataset in memory")
		outside, inside := set()
		assert.Contains(t, outside, "LOADING Redis")
		assert.Contains(t, inside, "LOADING Redis")
		server.Refuse("SET", "")
		server.Deny(true, "SET")
		outside, inside = set()
		assert.Contains(t, outside, "NOPERM this user has no permissions to run the 'set' command")
		assert.Contains(t, inside, "The user executing the script can't run this command")
		server.Deny(false, "SET")
		outside, inside = set()
		assert.Contains(t, outside, "OK")
		assert.Contains(t, inside, "OK")
	})
}

func TestServer_CountsWhatItDoesNotKnow(t *testing.T) {
	inBubble(t, simredis.Options{}, func(t *testing.T, server *simredis.Server, client *redis.Client) {
		require.Error(t, client.LPush(t.Context(), "a", "b").Err())
		require.Error(t, client.Eval(t.Context(), "return redis.call('HGET', 'a', 'b')", nil).Err())
		assert.Equal(t, map[string]int{"lpush": 1, "hget": 1}, server.Unknown())
	})
}

func TestServer_EndsConnectionsOfAKind(t *testing.T) {
	inBubble(t, simredis.Options{}, func(t *testing.T, server *simredis.Server, client *redis.Client) {
		set(t, client, "a")
		for _, subscribe := range []func(context.Context, ...string) *redis.PubSub{client.Subscribe, client.SSubscribe} {
			news := subscribe(t.Context(), "news")
			_, err := news.Receive(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 1, server.KillClients(simredis.Subscribers))
			_, err = news.Receive(t.Context())
			require.Error(t, err)
			require.NoError(t, news.Close())
			synctest.Wait() // the server sees it
			require.NoError(t, client.Get(t.Context(), "a").Err())
		}
		assert.Positive(t, server.KillClients(simredis.NormalClients))
		require.Error(t, client.Get(t.Context(), "a").Err())
	})
}

func TestServer_CutsOffAClientThatIsTooSlow(t *testing.T) {
	inBubble(t, simredis.Options{OutputLimit: 1 << 10}, func(t *testing.T, server *simredis.Server, client *redis.Client) {
		news := client.Subscribe(t.Context(), "news")
		defer news.Close()
		_, err := news.Receive(t.Context())
		require.NoError(t, err)
		for range 100 {
			require.NoError(t, client.Publish(t.Context(), "news", strings.Repeat("x", 100)).Err())
		}
		synctest.Wait()
		assert.Equal(t, map[string]int64{"news": 0}, client.PubSubNumSub(t.Context(), "news").Val())
	})
}

func TestServer_IsFull(t *testing.T) {
	for policy, want := range map[simredis.Policy][]string{
		simredis.NoEviction:     {"lasting", "soon", "later"},
		simredis.AllKeysLRU:     {"later", "soon"},
		simredis.VolatileTTL:    {"lasting", "later"},
		simredis.VolatileLRU:    {"lasting", "later"},
		simredis.VolatileRandom: nil,
		simredis.AllKeysRandom:  nil,
	} {
		t.Run(string(policy), func(t *testing.T) {
			inBubble(t, simredis.Options{}, func(t *testing.T, server *simredis.Server, client *redis.Client) {
				server.SetMaxMemory(1<<30, policy)
				require.NoError(t, client.Set(t.Context(), "lasting", "v", 0).Err())
				time.Sleep(time.Millisecond)
				require.NoError(t, client.Set(t.Context(), "soon", "v", time.Second).Err())
				time.Sleep(time.Millisecond)
				require.NoError(t, client.Set(t.Context(), "later", "v", time.Hour).Err())
				server.SetMaxMemory(server.Memory()-1, policy)
				err := client.Set(t.Context(), "later", "v", time.Hour).Err()
				assert.Equal(t, policy == simredis.NoEviction, err != nil, "%v", err)
				if want == nil {
					assert.Len(t, server.Keys(), 2)
					return
				}
				assert.Subset(t, want, server.Keys())
			})
		})
	}
}

// replicated is a primary that has a replica, and their clients.
func replicated(t *testing.T, test func(t *testing.T, p, r *simredis.Server, toPrimary, toReplica *redis.Client)) {
	inBubble(t, simredis.Options{}, func(t *testing.T, primary *simredis.Server, toPrimary *redis.Client) {
		set(t, toPrimary, "before")
		replica := newServer(t, simredis.Options{Seed: 1})
		replica.SetReplicaOf(primary)
		synctest.Wait()
		test(t, primary, replica, toPrimary, newClient(t, replica))
	})
}

func TestReplica_FollowsAndTakesOver(t *testing.T) {
	replicated(t, func(t *testing.T, primary, replica *simredis.Server, toPrimary, toReplica *redis.Client) {
		assert.Equal(t, []string{"before"}, replica.Keys())
		replica.SetReplicationLag(time.Second)
		require.NoError(t, toPrimary.Eval(t.Context(), `
			redis.call('SET', 'after', 'x', 'PX', 60000)
			redis.call('SETRANGE', 'after', 1, 'y')
			redis.call('XADD', 'journal', '5-0', 'k', 'v')
			return redis.call('DEL', 'before')`, nil).Err())
		assert.Equal(t, []string{"before"}, replica.Keys())
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"after", "journal"}, replica.Keys())
		assert.Equal(t, "xy", toReplica.Get(t.Context(), "after").Val())
		assert.Equal(t, 59*time.Second, toReplica.PTTL(t.Context(), "after").Val())
		require.ErrorContains(t, toReplica.Set(t.Context(), "a", "v", 0).Err(), "READONLY")
		history := infoOf(t, toPrimary, "master_replid")
		assert.Equal(t, history, infoOf(t, toReplica, "master_replid"))

		set(t, toPrimary, "lost")
		replica.Promote()
		time.Sleep(time.Minute)
		set(t, toReplica, "mine")
		assert.Equal(t, []string{"journal", "mine"}, replica.Keys())
		assert.Equal(t, history, infoOf(t, toReplica, "master_replid2"))
		assert.NotEqual(t, history, infoOf(t, toReplica, "master_replid"))

		primary.SetReplicaOf(replica)
		synctest.Wait()
		assert.Equal(t, []string{"journal", "mine"}, primary.Keys())
	})
}

func TestReplica_IsCutOffAndComesBack(t *testing.T) {
	replicated(t, func(t *testing.T, primary, replica *simredis.Server, toPrimary, _ *redis.Client) {
		primary.SetMinReplicas(1)
		replica.CutReplication(true)
		set(t, toPrimary, "during")
		time.Sleep(10 * time.Second)
		set(t, toPrimary, "still")
		time.Sleep(time.Second)
		require.ErrorContains(t, toPrimary.Set(t.Context(), "late", "v", 0).Err(), "NOREPLICAS")
		require.ErrorContains(t, toPrimary.Eval(t.Context(), "return redis.call('DEL', 'a')", nil).Err(), "NOREPLICAS")
		assert.Equal(t, []string{"before"}, replica.Keys())
		replica.CutReplication(false)
		synctest.Wait()
		assert.Equal(t, []string{"before", "during", "still"}, replica.Keys())
		set(t, toPrimary, "after")
	})
}

func TestReplica_HearsOfARestart(t *testing.T) {
	replicated(t, func(t *testing.T, primary, replica *simredis.Server, _, _ *redis.Client) {
		primary.Restart(nil)
		synctest.Wait()
		assert.Empty(t, replica.Keys())

		set(t, newClient(t, primary), "a")
		replica.Restart(nil)
		synctest.Wait()
		assert.Equal(t, []string{"a"}, replica.Keys())
	})
}

func TestServer_SaysGoodbye(t *testing.T) {
	for sent, want := range map[string]string{"QUIT\r\n": "+OK\r\n", "*x\r\n": "-ERR Protocol error: invalid multibulk length\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			go newServer(t, simredis.Options{}).Serve(far) // ends with what was sent
			_, err := near.Write([]byte(sent))
			require.NoError(t, err)
			synctest.Wait()
			got, err := io.ReadAll(near)
			require.NoError(t, err)
			assert.Equal(t, want, string(got))
		})
	}
}

func TestServer_LeavesNothingBehind(t *testing.T) {
	for name, harm := range map[string]func(server *simredis.Server, near net.Conn){
		"the client goes":   func(_ *simredis.Server, near net.Conn) { _ = near.Close() },
		"the server goes":   func(server *simredis.Server, _ net.Conn) { server.Close() },
		"a frozen one goes": func(server *simredis.Server, _ net.Conn) { server.Close() },
		"it begins again":   func(server *simredis.Server, _ net.Conn) { server.Restart(nil) },
	} {
		for what, sent := range map[string]string{
			"nothing": "", "half": "*2\r\n$3\r\nGE", "whole": "*1\r\n$4\r\nPING\r\n", "broken": "*1\r\n+\r\n",
			"subscribed": "SUBSCRIBE news\r\nPUBLISH news x\r\n", "quit": "QUIT\r\n",
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := simredis.New(simredis.Options{})
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
