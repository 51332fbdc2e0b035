package servers_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

func natsConn(t *testing.T, url string) *nats.Conn {
	conn, err := nats.Connect(url)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

func TestNATS_DeliversAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	srv := servers.NATS(t)
	deliver(t, natsConn(t, srv.URL))

	srv.Kill()
	_, err := nats.Connect(srv.URL)
	require.Error(t, err)

	require.NoError(t, srv.Restart())
	deliver(t, natsConn(t, srv.URL))
}

func deliver(t *testing.T, conn *nats.Conn) {
	sub, err := conn.SubscribeSync("subject")
	require.NoError(t, err)
	require.NoError(t, conn.Publish("subject", []byte("payload")))
	msg, err := sub.NextMsg(patience)
	require.NoError(t, err)
	assert.Equal(t, "payload", string(msg.Data))
}

func TestNATS_HasJetStreamOnlyIfAsked(t *testing.T) {
	t.Parallel()
	create := func(srv *servers.NATSServer) error {
		js, err := jetstream.New(natsConn(t, srv.URL))
		require.NoError(t, err)
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "stream"})
		return err
	}
	assert.Error(t, create(servers.NATS(t)))
	assert.NoError(t, create(servers.NATS(t, servers.JetStream)))
}

func TestNATS_TakesTheServersOptions(t *testing.T) {
	t.Parallel()
	const limit = 1000
	srv := servers.NATS(t, func(o *server.Options) { o.MaxPayload = limit })
	assert.EqualValues(t, limit, natsConn(t, srv.URL).MaxPayload())
}

func TestNATS_StopMayBeCalledAgain(t *testing.T) {
	t.Parallel()
	srv, err := servers.StartNATS()
	require.NoError(t, err)
	srv.Stop()
	srv.Stop()
	_, err = nats.Connect(srv.URL)
	assert.Error(t, err)
}
