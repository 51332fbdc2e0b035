package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/bus/redisbus"
	"github.com/nearbus/nearbus/integration/servers"
)

const (
	fanOut     = 100   // subscribers
	fanRounds  = 5_000 // messages
	fanPayload = 61    // bytes, about a message of one key

	// natsMode makes the test program a nats-server with this directory, whose
	// processor time is known when it ends.
	natsMode = "FLEETCOST_NATS_SERVER"
)

func TestMain(m *testing.M) {
	if os.Getenv(natsMode) == "" {
		os.Exit(m.Run())
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: os.Getenv(natsMode),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.Start()
	fmt.Println(s.ClientURL())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it or is gone
	s.Shutdown()
	os.Exit(0)
}

// BenchmarkFanOut measures the processor time of a server for each message that
// it hands to one of many subscribers.
func BenchmarkFanOut(b *testing.B) {
	b.Run("Redis", func(b *testing.B) {
		s := servers.Redis(b)
		client := redis.NewClient(&redis.Options{Addr: s.Addr})
		defer client.Close()
		report(b, func() time.Duration {
			before := redisCPU(b, client)
			fan(b, func() bus.Transport {
				own := redis.NewClient(&redis.Options{Addr: s.Addr})
				b.Cleanup(func() { _ = own.Close() })
				t, err := redisbus.New(own, redisbus.Options{})
				require.NoError(b, err)
				return t
			})
			return redisCPU(b, client) - before
		})
	})
	for name, join := range map[string]func(*nats.Conn) (bus.Transport, error){
		"NATS": func(conn *nats.Conn) (bus.Transport, error) { return natsbus.New(conn, natsbus.Options{}) },
		"JetStream": func(conn *nats.Conn) (bus.Transport, error) {
			return natsbus.NewStream(b.Context(), conn, natsbus.StreamOptions{})
		},
	} {
		b.Run(name, func(b *testing.B) {
			report(b, func() time.Duration {
				url, end := natsProcess(b)
				fan(b, func() bus.Transport {
					conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort())
					require.NoError(b, err)
					b.Cleanup(conn.Close)
					t, err := join(conn)
					require.NoError(b, err)
					return t
				})
				return end()
			})
		})
	}
}

func report(b *testing.B, run func() time.Duration) {
	b.Helper()
	var spent time.Duration
	for b.Loop() {
		spent += run()
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*fanOut*fanRounds), "cpu-ns/delivery")
}

// fan publishes and waits until every subscriber has all. Messages go out as
// the bus sends them, the next one when the server has this one.
func fan(b *testing.B, join func() bus.Transport) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var heard, ready atomic.Int64
	for range fanOut {
		t := join()
		go func() { // ends with ctx
			_ = t.Receive(ctx, bus.Sink{
				Ready: func() { ready.Add(1) }, Gap: func(error) {}, Deliver: func([]byte) { heard.Add(1) },
			})
		}()
	}
	require.Eventually(b, func() bool { return ready.Load() == fanOut }, time.Minute, time.Millisecond)
	t, payload := join(), make([]byte, fanPayload)
	for i := range int64(fanRounds) {
		require.NoError(b, t.Publish(ctx, payload))
		for i-heard.Load()/fanOut > 500 { // receivers share this process
			time.Sleep(time.Millisecond)
		}
	}
	require.Eventually(b, func() bool { return heard.Load() == fanOut*fanRounds }, time.Minute, time.Millisecond)
}

func redisCPU(b *testing.B, client *redis.Client) (spent time.Duration) {
	b.Helper()
	info, err := client.Info(b.Context(), "cpu").Result()
	require.NoError(b, err)
	for line := range strings.Lines(info) {
		for _, name := range []string{"used_cpu_user:", "used_cpu_sys:"} {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				d, err := time.ParseDuration(text + "s")
				require.NoError(b, err)
				spent += d
			}
		}
	}
	return spent
}

func natsProcess(b *testing.B) (url string, end func() time.Duration) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), natsMode+"="+b.TempDir())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	url, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(b, err)
	return strings.TrimSpace(url), func() time.Duration {
		require.NoError(b, stdin.Close())
		require.NoError(b, cmd.Wait())
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
}
