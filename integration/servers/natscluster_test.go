package servers_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

func TestNATSCluster_DeliversBetweenServersAsLongAsTheirRouteStands(t *testing.T) {
	t.Parallel()
	c := servers.NATSCluster(t, 3)
	one, two := natsConn(t, c.Servers[0].URL), natsConn(t, c.Servers[1].URL)
	sub, err := one.SubscribeSync("subject")
	require.NoError(t, err)
	require.NoError(t, one.Flush())
	heard := func(payload string) bool {
		require.NoError(t, two.Publish("subject", []byte(payload)))
		require.NoError(t, two.Flush())
		m, err := sub.NextMsg(100 * time.Millisecond)
		return err == nil && string(m.Data) == payload
	}
	require.Eventually(t, func() bool { return heard("together") }, patience, time.Millisecond)

	c.Isolate(0)
	assert.False(t, heard("apart"))
	require.NoError(t, c.Rejoin(0))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, c.WaitReady(ctx))
	require.Eventually(t, func() bool { return heard("again") }, patience, time.Millisecond)
}

func TestNATSCluster_ClientsMoveFromADeadServer(t *testing.T) {
	t.Parallel()
	c := servers.NATSCluster(t, 3)
	conn, err := nats.Connect(c.Servers[0].URL, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	defer conn.Close()
	c.Servers[0].Kill()
	require.Eventually(t, func() bool { return conn.IsConnected() && conn.ConnectedUrl() != c.Servers[0].URL },
		patience, 5*time.Millisecond, "the other servers were told by the first")
}

func TestNATSCluster_StreamWithReplicasSurvivesItsLeader(t *testing.T) {
	t.Parallel()
	c := servers.NATSCluster(t, 3, servers.JetStream)
	conn, err := nats.Connect(c.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "s", []byte("1"))
	require.NoError(t, err)
	leader, err := c.Leader("S")
	require.NoError(t, err)
	c.Servers[leader].Kill()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "S")
		return err == nil && s.CachedInfo().State.LastSeq == 1
	}, patience, 5*time.Millisecond)
}
