package shared

import (
	"time"

	"github.com/nearbus/nearbus/shared/internal/serverclock"
)

// serverClock is the estimate of the clock of the store's server.
type serverClock struct{ *serverclock.Clock }

func newServerClock() *serverClock { return &serverClock{serverclock.New()} }

func (c *serverClock) observe(sent, received, now time.Time) { c.Observe(sent, received, now) }

func (c *serverClock) atMost() time.Time { return c.AtMost() }

func (c *serverClock) now() (time.Time, bool) { return c.Now() }

func (c *serverClock) known() bool { return c.Known() }
