package redisstore

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clusterNode is a server that says of a Cluster that the first of its nodes has all slots.
type clusterNode struct {
	listener net.Listener
	first    string                                      // the address of the node that has all slots
	answer   func(args []string) (reply string, ok bool) // !ok: closes the connection

	mu   sync.Mutex
	seen []string // protected by mu
}

func startClusterNode(t *testing.T) *clusterNode {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return &clusterNode{listener: listener}
}

func (n *clusterNode) addr() string { return n.listener.Addr().String() }

func (n *clusterNode) serve() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return
		}
		go n.talk(conn)
	}
}

func (n *clusterNode) talk(conn net.Conn) {
	defer conn.Close()
	for r := bufio.NewReader(conn); ; {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		reply, ok := n.reply(args)
		if !ok {
			return
		}
		if _, err := conn.Write([]byte(reply)); err != nil {
			return
		}
	}
}

func (n *clusterNode) reply(args []string) (reply string, ok bool) {
	switch strings.ToLower(args[0]) {
	case "get":
		n.mu.Lock()
		defer n.mu.Unlock()
		n.seen = append(n.seen, args[1])
		return n.answer(args)
	case "cluster":
		host, port, _ := net.SplitHostPort(n.first)
		return fmt.Sprintf("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%s\r\n:%s\r\n", len(host), host, port), true
	}
	return "-ERR unknown command\r\n", true
}

func readCommand(r *bufio.Reader) (args []string, err error) {
	count, err := readLength(r)
	for range count {
		if _, err = readLength(r); err != nil {
			return nil, err
		}
		arg, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		args = append(args, strings.TrimSpace(arg))
	}
	return args, err
}

func readLength(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// TestPipelined_BreaksAfterARedirection: a command that was redirected is not sent to two
// servers at one time when its pipeline breaks.
func TestPipelined_BreaksAfterARedirection(t *testing.T) {
	first, second := startClusterNode(t), startClusterNode(t)
	broke := false
	first.answer = func(args []string) (string, bool) {
		switch {
		case args[1] == "moved":
			return "-MOVED 0 " + second.addr() + "\r\n", true
		case !broke:
			broke = true
			return "", false
		}
		return "$5\r\nfirst\r\n", true
	}
	second.answer = func([]string) (string, bool) { return "$6\r\nsecond\r\n", true }
	for _, n := range []*clusterNode{first, second} {
		n.first = first.addr()
		go n.serve()
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{first.addr()}, ContextTimeoutEnabled: true, MinRetryBackoff: time.Millisecond,
	})
	t.Cleanup(func() { _ = client.Close() })
	s := &Store{client: client}
	var cmds []*redis.Cmd
	s.pipelined(t.Context(), func(pipe redis.Pipeliner) {
		for _, key := range []string{"moved", "kept", "last"} {
			cmds = append(cmds, pipe.Do(t.Context(), "get", key))
		}
	})
	for i, want := range []string{"second", "first", "first"} {
		text, err := cmds[i].Text()
		require.NoError(t, err)
		assert.Equal(t, want, text)
	}
	assert.Equal(t, []string{"moved", "kept", "kept", "last"}, first.seen)
	assert.Equal(t, []string{"moved"}, second.seen)
}
