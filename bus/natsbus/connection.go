package natsbus

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// checkConnection returns an error that names each option with which a connection
// may end for good, or be dead without anybody noticing: nothing would be heard
// from then on. TestNew_KnowsEveryOption says of each option why it is here or not.
func checkConnection(nc *nats.Conn, needsEcho bool) error {
	if nc == nil {
		return errors.New("the connection is nil")
	}
	if nc.IsClosed() {
		return errors.New("the connection is closed")
	}
	o := nc.Opts
	var failures []string
	for _, c := range []struct {
		bad bool
		why string
	}{
		{needsEcho && o.NoEcho, "NoEcho is set, so the bus could not hear its own heartbeat"},
		{!o.AllowReconnect, "NoReconnect is set, so it ends when it is lost"},
		{o.MaxReconnect >= 0, fmt.Sprintf("it ends after %d attempts to connect: set nats.MaxReconnects(-1)", o.MaxReconnect)},
		{!o.IgnoreAuthErrorAbort, "it ends when its login is refused twice: set nats.IgnoreAuthErrorAbort()"},
		{o.PingInterval <= 0, fmt.Sprintf("PingInterval is %v, so it may be dead and nobody notices", o.PingInterval)},
		{o.FlusherTimeout <= 0, fmt.Sprintf("FlusherTimeout is %v, so a write that hangs holds up everything", o.FlusherTimeout)},
	} {
		if c.bad {
			failures = append(failures, c.why)
		}
	}
	if failures == nil {
		return nil
	}
	return fmt.Errorf("the connection cannot be used: %s", strings.Join(failures, "; "))
}
