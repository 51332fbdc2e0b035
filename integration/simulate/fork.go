package simulate

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/integration/history"
)

// fork is a moment from which on two servers have different writes, and what one of them
// has that the other has not.
type fork struct {
	fleet *fleet
	old   *machine
	kept  string // the last entry that both have
	loss  history.Loss

	vague bool     // the clock was set: the times of entries say nothing
	lost  []stored // in the order of the journal
}

// stored is an entry of a journal.
type stored struct {
	at  history.Moment
	key string
}

// fork begins a fork: heir has what it has now, and old goes on until [fork.end].
func (f *fleet) fork(old, heir *machine) *fork {
	k := &fork{fleet: f, old: old, kept: "0-0"}
	if last := heir.journal("XREVRANGE", "+", "-", "COUNT", "1"); len(last) > 0 {
		k.kept = last[0].ID
	}
	k.loss.Died = now()
	k.loss.Lost = k.has
	return k
}

// end notes what the old server has that is lost. It has to be called before that server
// stops.
func (k *fork) end() {
	k.vague = k.old.wasSet()
	for _, m := range k.old.journal("XRANGE", k.kept, "+") {
		text, _ := m.Values["k"].(string)
		micros, err := strconv.ParseInt(strings.TrimSuffix(m.ID, "-0"), 10, 64)
		if m.ID != k.kept && len(text) > nonceSize && err == nil {
			k.lost = append(k.lost, stored{time.UnixMicro(micros).UnixNano(), text[nonceSize:]})
		}
	}
	if k.loss.Back == 0 {
		k.loss.Back = now()
	}
}

// nonceSize is what stands before the key in an entry.
const nonceSize = 8

// has reports whether a write may be among what is lost. What ends many values at once is
// taken for a write of all keys that it may be about.
func (k *fork) has(r *history.Record) bool {
	if k.vague {
		return r.Start < k.loss.Back && r.End > k.loss.Died-int64(time.Second)
	}
	const slack = int64(2 * time.Millisecond)
	for _, s := range k.lost {
		if s.at >= r.Start-slack && s.at <= r.End+slack {
			if s.key == cacheName+":"+keyName(r.Key) || strings.HasPrefix(s.key, cacheName+"!") && r.Key < k.fleet.plan.openKeys() {
				return true
			}
		}
	}
	return false
}

// journal asks a machine for its journal, past the network.
func (m *machine) journal(command string, args ...any) []redis.XMessage {
	c := m.client()
	defer c.Close()
	cmd := redis.NewXMessageSliceCmd(context.Background(), append([]any{command, "nearbus:{0}!journal"}, args...)...)
	if err := c.Process(context.Background(), cmd); err != nil {
		panic(fmt.Errorf("simulate: journal of %s: %w", m.name, err))
	}
	return cmd.Val()
}

// client returns one that reaches a machine past the network.
func (m *machine) client() *redis.Client {
	return newClient(m.name, func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		m.open.Go(func() { m.redis.Serve(there) })
		return here, nil
	})
}
