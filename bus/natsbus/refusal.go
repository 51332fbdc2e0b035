package natsbus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// refusals notes what a server says about the rights of a user. It says so
// beside its answers, and nats.go tells nobody who waits for one.
type refusals struct {
	nc     *nats.Conn
	before error
}

// listen returns refusals of what is sent from here on.
func listen(nc *nats.Conn) refusals { return refusals{nc, nc.LastError()} }

// join adds to err that something was refused since listen; with no err, it
// returns that about subject. It is known once what was sent later has been
// answered. The connection may be used by others, for other subjects.
func (r refusals) join(err error, subject string) error {
	said := r.nc.LastError()
	same := said == r.before //nolint:errorlint // Every refusal is an error of its own.
	if same || !errors.Is(said, nats.ErrPermissionViolation) {
		return err
	}
	switch {
	case err != nil:
		return errors.Join(err, said)
	case strings.Contains(said.Error(), strconv.Quote(subject)):
		return said
	}
	return nil
}

// notConnected returns errNotConnected, and why if the user is to blame or the
// connection is closed.
func notConnected(nc *nats.Conn) error {
	if nc.IsClosed() {
		return fmt.Errorf("%w: %w", errNotConnected, nats.ErrConnectionClosed)
	}
	if said := nc.LastError(); errors.Is(said, nats.ErrAuthorization) || errors.Is(said, nats.ErrAuthExpired) || errors.Is(said, nats.ErrAuthRevoked) {
		return errors.Join(errNotConnected, said)
	}
	return errNotConnected
}
