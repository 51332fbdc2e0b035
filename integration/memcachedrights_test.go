package integration_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memcachestore"
	"github.com/nearbus/nearbus/shared/storetest"
)

// secureDialer connects to a memcached with encryption, and says who it is. That
// is all that gomemcache can do: it speaks the text protocol, which has no SASL;
// memcached takes a name and a password as the first thing that is set.
func secureDialer(encryption *tls.Config, user, password string) func(context.Context, string, string) (net.Conn, error) {
	dialer := tls.Dialer{Config: encryption}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil || user == "" {
			return conn, err
		}
		if err := sayWho(ctx, conn, user, password); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

func sayWho(ctx context.Context, conn net.Conn, user, password string) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	who := user + " " + password
	if _, err := fmt.Fprintf(conn, "set auth 0 0 %d\r\n%s\r\n", len(who), who); err != nil {
		return err
	}
	answer, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if err == nil && strings.TrimSpace(answer) != "STORED" {
		err = fmt.Errorf("memcached refused the user: %s", strings.TrimSpace(answer))
	}
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

func secureClient(t *testing.T, addr string, encryption *tls.Config, user, password string) *memcache.Client {
	client := memcache.New(addr)
	client.MaxIdleConns = 50
	client.Timeout = 2 * time.Second
	client.DialContext = secureDialer(encryption, user, password)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestRights_Memcached(t *testing.T) {
	certificates := servers.NewCertificates(t)
	_, secure := servers.MemcachedTLS(t, certificates, "app", secret)
	client := secureClient(t, secure, certificates.Client, "app", secret)
	storetest.Run(t, storetest.Harness{
		New: func() (driver.Store, error) {
			return memcachestore.New(client, memcachestore.Options{Prefix: uniqueName()})
		},
		NoRevisions: true,
		NoJournal:   true,
	}, false)
}

func TestCredentials_Memcached(t *testing.T) {
	t.Parallel()
	certificates, foreign := servers.NewCertificates(t), servers.NewCertificates(t)
	_, secure := servers.MemcachedTLS(t, certificates, "app", secret)
	for name, c := range map[string]struct {
		client *memcache.Client
		want   string
	}{
		"wrong password":    {secureClient(t, secure, certificates.Client, "app", secret+"x"), "refused the user"},
		"nobody":            {secureClient(t, secure, certificates.Client, "", ""), "unauthenticated|EOF|CLIENT_ERROR"},
		"server of another": {secureClient(t, secure, foreign.Client, "app", secret), "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, err := memcachestore.New(c.client, memcachestore.Options{Prefix: uniqueName()})
			require.NoError(t, err)
			err = putRecord(t.Context(), store, "k", value(1, "v"))
			require.ErrorContains(t, err, "memcachestore: ")
			assert.Regexp(t, c.want, err.Error())
			assert.NotContains(t, err.Error(), secret)
		})
	}
}
