package servers_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/integration/servers"
)

func TestNATSPair_DeliversAsLongAsTheLineIsNotHeld(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func() *servers.NATSPair{
		"leaf node": func() *servers.NATSPair { return servers.NATSLeaf(t) },
		"gateways":  func() *servers.NATSPair { return servers.NATSGateways(t) },
	} {
		pair := start()
		one, two := natsConn(t, pair.Servers[0].URL), natsConn(t, pair.Servers[1].URL)
		sub, err := one.SubscribeSync("subject")
		require.NoError(t, err)
		require.NoError(t, one.Flush())
		heard := func() bool {
			require.NoError(t, two.Publish("subject", nil))
			require.NoError(t, two.Flush())
			_, err := sub.NextMsg(100 * time.Millisecond)
			return err == nil
		}
		require.Eventually(t, heard, patience, time.Millisecond, name)
		pair.Stall()
		require.Eventually(t, func() bool { return !heard() }, patience, time.Millisecond, name)
		require.NoError(t, pair.Resume())
		require.Eventually(t, heard, patience, time.Millisecond, name)
	}
}
