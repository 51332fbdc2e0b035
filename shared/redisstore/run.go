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
// process: replicas, snapshots and restarts do not have them. A script of writes with a run id
// in its text is loaded over a connection to the server of that run and over no other. Where
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

// anyWrites are the scripts of writes as every server may have them.
var anyWrites = writesFor("")

// writesFor returns the scripts of writes as the server with this run id has them.
func writesFor(run string) *calls {
	here := "local here = '" + run + "'\n"
	return &calls{one: newScript(here + writeOneSource), many: newScript(here + writeManySource)}
}

// writeScripts returns the scripts of writes as the server of a partition has them, if that is
// known. The server did not have one of them if the whole of it is to be sent.
func (s *Store) writeScripts(ctx context.Context, p *partition, whole bool) *calls {
	if whole {
		p.writes.Store(nil)
	}
	if scripts := p.writes.Load(); scripts != nil {
		return scripts
	}
	s.learnRuns(ctx)
	return anyWrites
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
		known := make(map[*redis.Client]*calls)
		for i := range s.partitions {
			p := &s.partitions[i]
			if p.writes.Load() != nil {
				continue
			}
			server, err := s.serverOf(ctx, p)
			if err != nil {
				continue
			}
			scripts, asked := known[server]
			if !asked {
				scripts = loadForRun(ctx, server)
				known[server] = scripts
			}
			p.writes.CompareAndSwap(nil, scripts)
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

// loadForRun loads the scripts of writes with the run id of a server on that server, and
// returns them, nil if that failed.
func loadForRun(ctx context.Context, server *redis.Client) (scripts *calls) {
	// All over one connection: another may lead to another server. A transaction that
	// watches nothing is one.
	_ = server.Watch(ctx, func(conn *redis.Tx) error {
		run, err := conn.Eval(ctx, runScript, nil).Text()
		if err != nil || len(run) != runIDSize {
			return err
		}
		loaded := writesFor(run)
		for _, script := range []*script{loaded.one, loaded.many} {
			if err := conn.Eval(ctx, script.text, nil).Err(); err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
		}
		scripts = loaded
		return nil
	})
	return scripts
}

// seldom lets something happen once in a while.
type seldom struct{ last atomic.Pointer[time.Time] }

// due reports whether it may happen now: it did not for this long.
func (s *seldom) due(every time.Duration) bool {
	now := time.Now()
	last := s.last.Load()
	return (last == nil || now.Sub(*last) >= every) && s.last.CompareAndSwap(last, &now)
}
