package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// SentinelName is what a [Sentinel] calls the servers that it watches.
const SentinelName = "nearbus"

// Sentinel is a primary with replicas, and one Redis Sentinel that promotes a
// replica when the primary does not answer for half a second.
type Sentinel struct {
	// Nodes are the servers. The first is the primary at the beginning.
	Nodes []*Process

	// Watcher is the Sentinel itself.
	Watcher *Process
}

// RedisSentinel starts servers for the test; see [StartRedisSentinel].
func RedisSentinel(t testing.TB, replicas int, args ...string) *Sentinel {
	t.Helper()
	s, err := StartRedisSentinel(t.Context(), replicas, args...)
	return inTest(t, s, err)
}

// StartRedisSentinel starts a primary with replicas and a Sentinel, and returns
// when the Sentinel knows all of them. Further arguments are those of each
// redis-server.
func StartRedisSentinel(ctx context.Context, replicas int, args ...string) (*Sentinel, error) {
	s := &Sentinel{}
	if err := s.start(ctx, replicas, args); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop ends all servers for good.
func (s *Sentinel) Stop() {
	for _, p := range append([]*Process{s.Watcher}, s.Nodes...) {
		if p != nil {
			p.Stop()
		}
	}
}

// Primary returns the server that the Sentinel believes is the primary.
func (s *Sentinel) Primary(ctx context.Context) (*Process, error) {
	client := redis.NewSentinelClient(&redis.Options{Addr: s.Watcher.Addr})
	defer client.Close()
	addr, err := client.GetMasterAddrByName(ctx, SentinelName).Result()
	if err != nil {
		return nil, fmt.Errorf("servers: sentinel: %w", err)
	}
	for _, p := range s.Nodes {
		if p.Addr == net.JoinHostPort(addr[0], addr[1]) {
			return p, nil
		}
	}
	return nil, fmt.Errorf("servers: sentinel: unknown primary %v", addr)
}

// Failover kills the primary, waits until another one is promoted, starts the
// old one again, which becomes a replica, and returns the new primary. Between
// the two it calls killed, unless that is nil, with the replicas as the primary
// left them.
func (s *Sentinel) Failover(ctx context.Context, killed func(replicas []*Process) error) (promoted *Process, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	old, err := s.Primary(ctx)
	if err != nil {
		return nil, err
	}
	old.Kill()
	if killed != nil {
		others := slices.DeleteFunc(slices.Clone(s.Nodes), func(p *Process) bool { return p == old })
		if err := leftBehind(ctx, others, killed); err != nil {
			return nil, err
		}
	}
	if err := s.await(ctx, func() bool {
		promoted, err = s.Primary(ctx)
		return err == nil && promoted != old && isPrimary(ctx, promoted)
	}); err != nil {
		return nil, err
	}
	if err := old.Restart(ctx); err != nil {
		return nil, err
	}
	return promoted, s.WaitReady(ctx)
}

// ChangeOver has the Sentinel promote a replica while the primary lives, which becomes a
// replica, and returns the new primary.
func (s *Sentinel) ChangeOver(ctx context.Context) (promoted *Process, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	old, err := s.Primary(ctx)
	if err != nil {
		return nil, err
	}
	client := redis.NewSentinelClient(&redis.Options{Addr: s.Watcher.Addr})
	defer client.Close()
	// It refuses while an earlier one is not long ago.
	if err := s.await(ctx, func() bool { return client.Failover(ctx, SentinelName).Err() == nil }); err != nil {
		return nil, err
	}
	if err := s.await(ctx, func() bool {
		promoted, err = s.Primary(ctx)
		return err == nil && promoted != old && isPrimary(ctx, promoted)
	}); err != nil {
		return nil, err
	}
	return promoted, s.WaitReady(ctx)
}

// leftBehind calls killed when the replicas have taken in all that their dead
// primary sent.
func leftBehind(ctx context.Context, replicas []*Process, killed func([]*Process) error) error {
	for _, p := range replicas {
		if err := poll(ctx, func() error {
			if inStep(ctx, p) == nil {
				return errFollows
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return killed(replicas)
}

var errFollows = errors.New("servers: replica has not noticed the end of its primary")

// WaitReady returns when all replicas follow the primary.
func (s *Sentinel) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return s.await(ctx, func() bool {
		p, err := s.Primary(ctx)
		if err != nil {
			return false
		}
		client := redis.NewSentinelClient(&redis.Options{Addr: s.Watcher.Addr})
		defer client.Close()
		known, err := client.Replicas(ctx, SentinelName).Result()
		return err == nil && len(known) >= len(s.Nodes)-1 && s.followed(ctx, p)
	})
}

// followed reports whether all other nodes replicate from p.
func (s *Sentinel) followed(ctx context.Context, p *Process) bool {
	replicas, err := replicasOf(ctx, p)
	return err == nil && replicas == len(s.Nodes)-1
}

func isPrimary(ctx context.Context, p *Process) bool {
	_, err := replicasOf(ctx, p)
	return err == nil
}

var errNotPrimary = errors.New("servers: not a primary")

// replicasOf returns how many replicas are connected to a primary.
func replicasOf(ctx context.Context, p *Process) (n int, err error) {
	err = onNode(p, func(client *redis.Client) error {
		role, err := client.Do(ctx, "ROLE").Slice()
		if err != nil || len(role) < 3 || role[0] != "master" {
			return errors.Join(errNotPrimary, err)
		}
		replicas, _ := role[2].([]any)
		n = len(replicas)
		return nil
	})
	return n, err
}

func (s *Sentinel) await(ctx context.Context, ok func() bool) error {
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("servers: sentinel: %w", ctx.Err())
		case <-time.After(10 * pollInterval):
		}
	}
	return nil
}

func (s *Sentinel) start(ctx context.Context, replicas int, args []string) error {
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	for i := range replicas + 1 {
		own := args
		if i > 0 {
			host, port, _ := net.SplitHostPort(s.Nodes[0].Addr)
			own = append([]string{"--replicaof", host + " " + port}, args...)
		}
		node, err := StartRedis(ctx, own...)
		if err != nil {
			return err
		}
		s.Nodes = append(s.Nodes, node)
	}
	var err error
	if s.Watcher, err = startWatcher(ctx, s.Nodes[0].Addr); err != nil {
		return err
	}
	return s.WaitReady(ctx)
}

// startWatcher starts a Sentinel. It keeps its state in its configuration file.
func startWatcher(ctx context.Context, primary string) (*Process, error) {
	host, port, err := net.SplitHostPort(primary)
	if err != nil {
		return nil, err
	}
	return startProcess(ctx, redisProgram(nil, func(own int, dir string) []string {
		name := filepath.Join(dir, "sentinel.conf")
		conf := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\n"+
			"sentinel monitor %s %s %s 1\nsentinel down-after-milliseconds %[3]s 500\n"+
			"sentinel failover-timeout %[3]s 3000\nsentinel parallel-syncs %[3]s 4\n",
			own, dir, SentinelName, host, port)
		if _, err := os.Stat(name); err != nil {
			// What cannot be written is missed by the server, which says so.
			_ = os.WriteFile(name, []byte(conf), 0o600)
		}
		return []string{name, "--sentinel"}
	}))
}
