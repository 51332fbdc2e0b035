//go:build linux

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRun_Children: with a process that is killed its children end, which the other end of
// a pipe shows.
func TestRun_Children(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := run(ctx, time.Hour, ".", nil, "sh", "-c", `sh -c 'sleep 1000; true' > "$1" & wait`, "sh", pipe)
		done <- err
	}()
	file, err := os.Open(pipe) // waits until the child has it
	require.NoError(t, err)
	defer file.Close()
	cancel()
	_, err = io.ReadAll(file)
	require.NoError(t, err)
	assert.ErrorIs(t, <-done, context.Canceled)
}

func TestRun_Fails(t *testing.T) {
	e, err := run(t.Context(), time.Minute, ".", nil, "sh", "-c", "echo why; exit 3")
	require.NoError(t, err)
	assert.Equal(t, ended{output: "why\n", failed: true}, e)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = run(ctx, time.Minute, ".", nil, "true")
	assert.ErrorIs(t, err, context.Canceled)
}

// TestTranscript: of much output the beginning and the end are kept.
func TestTranscript(t *testing.T) {
	var out transcript
	for range 1000 {
		_, err := io.WriteString(&out, strings.Repeat("x", 1000))
		require.NoError(t, err)
	}
	_, err := io.WriteString(&out, "the end")
	require.NoError(t, err)
	text := out.String()
	assert.LessOrEqual(t, len(text), 3*transcriptPart)
	assert.True(t, strings.HasPrefix(text, "xxx") && strings.HasSuffix(text, "the end"))
}
