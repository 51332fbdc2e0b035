package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/bus/natsbus"
	"github.com/nearbus/nearbus/integration/servers"
)

// operator signs for accounts, and an account of its own for users.
type operator struct {
	key, account nkeys.KeyPair
	claims       *jwt.OperatorClaims
	accountJWT   string
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	o := &operator{key: keyPair(t, nkeys.CreateOperator), account: keyPair(t, nkeys.CreateAccount)}
	o.claims = jwt.NewOperatorClaims(publicKey(t, o.key))
	_, err := o.claims.Encode(o.key)
	require.NoError(t, err)
	o.accountJWT, err = jwt.NewAccountClaims(publicKey(t, o.account)).Encode(o.key)
	require.NoError(t, err)
	return o
}

func keyPair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	pair, err := create()
	require.NoError(t, err)
	return pair
}

func publicKey(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	public, err := pair.PublicKey()
	require.NoError(t, err)
	return public
}

// trusts makes a server know the operator and its account.
func (o *operator) trusts(t *testing.T) func(*server.Options) {
	t.Helper()
	accounts := &server.MemAccResolver{}
	require.NoError(t, accounts.Store(publicKey(t, o.account), o.accountJWT))
	return func(opts *server.Options) {
		opts.TrustedOperators, opts.AccountResolver = []*jwt.OperatorClaims{o.claims}, accounts
	}
}

// credentials writes a file for a user who may publish and subscribe on these
// subjects for as long as expires says, and returns its name and the user's seed.
func (o *operator) credentials(t *testing.T, expires time.Time, publish, subscribe []string) (name, seed string) {
	t.Helper()
	user := keyPair(t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(publicKey(t, user))
	claims.Expires = expires.Unix()
	claims.Pub.Allow.Add(publish...)
	claims.Sub.Allow.Add(subscribe...)
	token, err := claims.Encode(o.account)
	require.NoError(t, err)
	secretSeed, err := user.Seed()
	require.NoError(t, err)
	file, err := jwt.FormatUserConfig(token, secretSeed)
	require.NoError(t, err)
	name = filepath.Join(t.TempDir(), "app.creds")
	require.NoError(t, os.WriteFile(name, file, 0o600))
	return name, string(secretSeed)
}

// TestCredentials_NATSFile: a .creds file of a user with no more rights than the
// bus needs.
func TestCredentials_NATSFile(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	srv := servers.NATS(t, o.trusts(t))
	file, _ := o.credentials(t, time.Now().Add(time.Hour), []string{"nearbus"}, []string{"nearbus"})
	var nodes []*busNode
	for range 2 {
		transport, err := natsbus.New(natsClient(t, srv.Addr, nats.UserCredentials(file)), natsbus.Options{})
		require.NoError(t, err)
		nodes = append(nodes, startBus(t, transport))
	}
	nodes[0].tell(t, "k")
	nodes[1].awaitKey(t, "k")
}

// TestCredentials_NATSFileRefused: what a server refuses is in the error of the
// bus, the seed is not.
func TestCredentials_NATSFileRefused(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	srv := servers.NATS(t, o.trusts(t))
	for name, c := range map[string]struct {
		by      *operator
		expires time.Time
		publish []string
		want    string
	}{
		"of another operator": {newOperator(t), time.Now().Add(time.Hour), []string{"nearbus"}, "authorization violation"},
		"too late":            {o, time.Now().Add(-time.Minute), []string{"nearbus"}, "authorization violation"},
		"without a right":     {o, time.Now().Add(time.Hour), []string{"nothing"}, "permissions violation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, seed := c.by.credentials(t, c.expires, c.publish, []string{"nearbus"})
			nc := natsClient(t, srv.Addr, nats.UserCredentials(file), nats.RetryOnFailedConnect(true))
			transport, err := natsbus.New(nc, natsbus.Options{})
			require.NoError(t, err)
			require.Eventually(t, func() bool { // nats.go tries for the first time in the background
				err = hearsItself(t, transport)
				require.Error(t, err)
				require.NotContains(t, err.Error(), seed)
				return strings.Contains(strings.ToLower(err.Error()), c.want)
			}, busPatience, 10*time.Millisecond)
		})
	}
}

// TestCredentials_NATSRefusedForAWhile: a user who is refused again and again, since
// the servers do not know it for a while, is back when they know it. nats.go would
// close the connection at the second refusal.
func TestCredentials_NATSRefusedForAWhile(t *testing.T) {
	t.Parallel()
	logins := &logins{}
	srv := servers.NATS(t, func(o *server.Options) { o.CustomClientAuthentication = logins })
	node := func() *busNode {
		transport, err := natsbus.New(natsClient(t, srv.Addr), natsbus.Options{})
		require.NoError(t, err)
		return startBus(t, transport)
	}
	one, two := node(), node()
	logins.refuse.Store(true)
	require.NoError(t, srv.Restart())
	// Of two connections: one of them at least has been refused more than twice.
	require.Eventually(t, func() bool { return logins.refused.Load() >= 6 }, busPatience, 5*time.Millisecond)
	logins.refuse.Store(false)
	requireComeback(t, one, two)
}

// logins lets everybody in until it is told to refuse.
type logins struct {
	refuse  atomic.Bool
	refused atomic.Int64
}

func (l *logins) Check(server.ClientAuthentication) bool {
	if l.refuse.Load() {
		l.refused.Add(1)
		return false
	}
	return true
}
