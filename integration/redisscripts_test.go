package integration_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/integration/servers"
)

// otherServer is a hook that has scripts run as on a server of another kind: each sees
// the table redis that this Lua makes of the true one.
type otherServer string

// asOnAnother returns a client whose scripts run as on a server of another kind. What
// answer says, in Lua, is the answer to a command of a script; nil stands for that of
// the true server, which ask returns. Fields of redis that it lacks are hidden.
func asOnAnother(t testing.TB, server *servers.Process, answer string, hidden ...string) *redis.Client {
	client := newRedis(t, server.Addr)
	client.AddHook(otherServer(`local redis = (function()
  local true_redis = redis
  local function answer(ask, name, ...) ` + answer + ` end
  local function do_as(raise, name, ...)
    local args = {...}
    local function ask() return true_redis.pcall(name, unpack(args)) end
    local result = answer(ask, name, ...)
    if result == nil then
      if raise then return true_redis.call(name, ...) end
      return ask()
    end
    if raise and type(result) == 'table' and result['err'] then error(result) end
    return result
  end
  return setmetatable({
    call = function(...) return do_as(true, ...) end,
    pcall = function(...) return do_as(false, ...) end,
  }, {__index = function(_, field)
    if not string.find(' ` + strings.Join(hidden, " ") + ` ', ' ' .. field .. ' ', 1, true) then
      return true_redis[field]
    end
  end})
end)()
`))
	return client
}

// change has EVALSHA name a script that no server has, and EVAL bring the other redis.
func (o otherServer) change(cmd redis.Cmder) {
	switch args := cmd.Args(); cmd.Name() {
	case "evalsha":
		args[1] = strings.Repeat("0", 40)
	case "eval":
		args[1] = string(o) + args[1].(string)
	}
}

func (o otherServer) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (o otherServer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		o.change(cmd)
		return next(ctx, cmd)
	}
}

func (o otherServer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			o.change(cmd)
		}
		return next(ctx, cmds)
	}
}
