package redisstore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A write over a server that became a primary must begin a new epoch: what such a server
// lost would otherwise be in the epoch of what it has. Which run of which server a script
// is in, INFO tells, and takes as long as the rest of write.lua.
//
// The name of a script tells as well. Redis 7 and later keep scripts in the memory of the
// process: replicas, snapshots and restarts do not have them. write.lua with a run id in
// its text is loaded over a connection to the server of that run and over no other. Where
// it is known by its name, the server is that run of it. Its metadata has the same run id
// unless another server was the primary meanwhile.

// learnEvery is how often at most a store asks its servers which runs of them they are.
const learnEvery = time.Second

// runScript returns the run id of a server whose scripts stay with it, and nothing of
// others.
const runScript = `
local text = redis.REDIS_VERSION_NUM and redis.pcall('INFO', 'server')
return type(text) == 'string' and string.match(text, 'run_id:(%x+)')`

// runIDSize is the length of a run id.
const runIDSize = 40

// anyWrite is write.lua as every server may have it, and wholeWrite its text.
var (
	wholeWrite = textFor("")
	anyWrite   = redis.NewScript(wholeWrite)
)

// textFor returns the text of write.lua as the server with this run id has it.
func textFor(run string) string { return "local here = '" + run + "'\n" + writeSource }

// writeScript returns write.lua as the server of a partition has it, if that is known. The
// server did not have it if the whole of it is to be sent.
func (s *Store) writeScript(ctx context.Context, p *partition, whole bool) *redis.Script {
	if whole {
		p.write.Store(nil)
	}
	if script := p.write.Load(); script != nil {
		return script
	}
	s.learnRuns(ctx)
	return anyWrite
}

// learnRuns has the partitions written to by the name that only their servers know, in a
// goroutine that ends within a second. It has the values of whoever writes first.
func (s *Store) learnRuns(ctx context.Context) {
	if s.length == 0 || !s.learnt.due(learnEvery) {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), learnEvery)
		defer cancel()
		scripts := make(map[*redis.Client]*redis.Script)
		for i := range s.partitions {
			p := &s.partitions[i]
			if p.write.Load() != nil {
				continue
			}
			server, err := s.serverOf(ctx, p)
			if err != nil {
				continue
			}
			script, asked := scripts[server]
			if !asked {
				script = loadForRun(ctx, server)
				scripts[server] = script
			}
			p.write.CompareAndSwap(nil, script)
		}
	}()
}

// serverOf returns the client of the server that has a partition.
func (s *Store) serverOf(ctx context.Context, p *partition) (*redis.Client, error) {
	switch client := s.client.(type) {
	case *redis.ClusterClient:
		return client.MasterForKey(ctx, p.metadata.(string))
	case *redis.Ring:
		return client.GetShardClientForKey(p.metadata.(string))
	}
	return s.single, nil
}

// loadForRun loads write.lua with the run id of a server on that server, and returns it,
// nil if that failed.
func loadForRun(ctx context.Context, server *redis.Client) (script *redis.Script) {
	// All over one connection: another may lead to another server. A transaction that
	// watches nothing is one.
	_ = server.Watch(ctx, func(conn *redis.Tx) error {
		run, err := conn.Eval(ctx, runScript, nil).Text()
		if err != nil || len(run) != runIDSize {
			return err
		}
		loaded := redis.NewScript(textFor(run))
		if err := loaded.Eval(ctx, conn, nil).Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		script = loaded
		return nil
	})
	return script
}

// seldom lets something happen once in a while.
type seldom struct{ last atomic.Pointer[time.Time] }

// due reports whether it may happen now: it did not for this long.
func (s *seldom) due(every time.Duration) bool {
	now := time.Now()
	last := s.last.Load()
	return (last == nil || now.Sub(*last) >= every) && s.last.CompareAndSwap(last, &now)
}
