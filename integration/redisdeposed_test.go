package integration_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/redisstore"
)

// TestRedisJournal_DeposedOfAnotherKind: a primary that may not write without replicas
// confirms nothing, whatever looks at that: full or not.
func TestRedisJournal_DeposedOfAnotherKind(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]func(testing.TB, *servers.Process) *redis.Client{
		"as it is": func(t testing.TB, server *servers.Process) *redis.Client { return newRedis(t, server.Addr) },
		// Valkey 9.1 looks at memory first, and goes on when something was deleted.
		"memory first": func(t testing.TB, server *servers.Process) *redis.Client {
			return asOnAnother(t, server, `if name == 'SET' and redis.pcall('SET', KEYS[1], redis.call('GET', KEYS[1]) or '')['err'] then
				return {err = "OOM command not allowed when used memory > 'maxmemory'."}
			end`)
		},
		// Scripts of Redis before 7 do not look.
		"not in scripts": func(t testing.TB, server *servers.Process) *redis.Client {
			return asOnAnother(t, server, `local result = ask()
				if type(result) == 'table' and result['err'] and string.find(result['err'], 'NOREPLICAS') then
					return {ok = 'OK'}
				end
				return result`, "REDIS_VERSION_NUM")
		},
		// Redis 6 puts the place in front of what it says.
		"with the place": func(t testing.TB, server *servers.Process) *redis.Client {
			return asOnAnother(t, server, `local result = ask()
				if type(result) == 'table' and result['err'] then
					return {err = '@user_script: 12: -' .. result['err']}
				end
				return result`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := servers.Redis(t, "--maxmemory-policy", "noeviction")
			admin := newRedis(t, server.Addr)
			r := newReader(t, journalOn(t, client(t, server), redisstore.Options{}))
			r.set("a")
			r.goesOn("a")
			for _, maxmemory := range []string{"0", "1"} {
				require.NoError(t, admin.ConfigSet(t.Context(), "maxmemory", maxmemory).Err())
				require.NoError(t, admin.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
				for _, from := range []driver.Position{r.at, {}} {
					err := tailOf(t, r.store, from, 1).Err
					require.ErrorContains(t, err, "NOREPLICAS")
					require.ErrorIs(t, err, shared.ErrUnavailable)
				}
				require.NoError(t, admin.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err())
				r.goesOn()
			}
		})
	}
}
