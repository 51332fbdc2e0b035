package redisstore

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

// answered is an error that a server sent.
type answered string

func (a answered) Error() string { return string(a) }
func (answered) RedisError()     {}

// TestNotice: the client of a Cluster is told to look anew when a server may be gone, at
// most once a second.
func TestNotice(t *testing.T) {
	for err, want := range map[error]bool{
		nil:                      false,
		redis.Nil:                false,
		context.Canceled:         false,
		context.DeadlineExceeded: true,
		io.EOF:                   true,
		&net.OpError{Op: "dial", Err: errors.New("connection refused")}:                                     true,
		answered("CLUSTERDOWN The cluster is down"):                                                         true,
		answered("READONLY You can't write against a read only replica"):                                    true,
		answered("ERR Error running script (call to f_0a1b): @user_script:9: @user_script: 9: -READONLY x"): true,
		answered("WRONGTYPE Operation"):                                                                     false,
		answered("NOSCRIPT No matching"):                                                                    false,
		answered("OOM command not allowed"):                                                                 false,
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			s := &Store{reload: func(context.Context) { asked++ }}
			for range 25 { // two seconds and a half
				s.notice(err)
				time.Sleep(reloadEvery / 10)
			}
			assert.Equal(t, map[bool]int{true: 3, false: 0}[want], asked, "%v", err)
		})
	}
	(&Store{}).notice(io.EOF) // other clients
}
