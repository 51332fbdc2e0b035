package servers_test

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "dragonfly" {
		speakAsDragonfly()
	}
	os.Exit(m.Run())
}

// speakAsDragonfly answers PING, on the port that an argument of Dragonfly names, until it is
// killed. It does not say its process id.
func speakAsDragonfly() {
	port := ""
	for _, arg := range os.Args {
		if number, found := strings.CutPrefix(arg, "--port="); found {
			port = number
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		panic(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil && line == "PING\r\n" {
			_, _ = conn.Write([]byte("+PONG\r\n"))
		}
		_ = conn.Close()
	}
}

func TestRedis_ProgramWithArgumentsOfItsOwn(t *testing.T) {
	program := filepath.Join(t.TempDir(), "dragonfly")
	own, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(own, program))
	t.Setenv(servers.RedisVariable, program)
	server := servers.Redis(t)
	assert.NotZero(t, server.PID())
	server.Kill()
	require.NoError(t, server.Restart(t.Context()))
}

func TestStart_RunsTheProgramOfTheVariable(t *testing.T) {
	dir := t.TempDir()
	refuses := filepath.Join(dir, "refuses")
	require.NoError(t, os.WriteFile(refuses, []byte("#!/bin/sh\necho no license\nexit 1\n"), 0o700))
	for variable, start := range map[string]func() error{
		servers.RedisVariable:     func() error { _, err := servers.StartRedis(t.Context()); return err },
		servers.MemcachedVariable: func() error { _, err := servers.StartMemcached(t.Context()); return err },
	} {
		missing := filepath.Join(dir, "missing")
		t.Setenv(variable, missing)
		err := start()
		assert.ErrorContains(t, err, variable+" names \""+missing+"\", which cannot be run")
		assert.ErrorIs(t, err, os.ErrNotExist)

		t.Setenv(variable, refuses)
		err = start()
		assert.ErrorContains(t, err, "start refuses: process ended")
		assert.ErrorContains(t, err, "no license")
	}
}
