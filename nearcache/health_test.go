package nearcache_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
)

// TestHealth_Journal: what a probe prints from the start of a node to its end.
func TestHealth_Journal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.journal = true
		f.store.onBefore(func(context.Context, string, string) error {
			time.Sleep(time.Second)
			return errDown
		})
		tier, err := shared.New(f.store.forNode(f), shared.Options{})
		require.NoError(t, err)
		node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{MaxStaleness: 5 * time.Second})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, node.Close(atOnce)) })
		assert.Equal(t, "not trusted: the journal was not read yet", node.Health().String(), "before the first attempt")
		wait(2 * time.Second)
		assert.Regexp(t, `^not trusted: the journal was not read yet; nearcache: journal 0: connection refused; 2(\.\d+)?s behind$`, node.Health().String())
		f.store.onBefore(nil)
		wait(5 * time.Second)
		assert.Regexp(t, `^trusted; [\d.]+m?s behind$`, node.Health().String())
		failTails(f)
		wait(3 * time.Second)
		assert.Regexp(t, `^trusted; nearcache: journal 0: connection refused; [34](\.\d+)?s behind$`, node.Health().String())
		wait(5 * time.Second)
		assert.Regexp(t, `^not trusted: the journal was not read for [89](\.\d+)?s; nearcache: journal 0: connection refused; [89](\.\d+)?s behind$`, node.Health().String())
		require.NoError(t, node.Close(atOnce))
		assert.Contains(t, node.Health().String(), "not trusted: the node is closed")
	})
}

// TestHealth_Bus: without a journal it is about the bus.
func TestHealth_Bus(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		assert.Equal(t, "trusted; hears no other server", m.node.Health().String())
		m.link.deaf.Store(true)
		wait(10 * time.Second)
		assert.Equal(t, "not trusted: the bus is not heard", m.node.Health().String())
	})
}

// TestHealth_JSON: names, durations and errors are for people.
func TestHealth_JSON(t *testing.T) {
	for want, h := range map[string]nearcache.Health{
		`{"trusted":true,"why":null,"behind":"0s","busCut":false,"owed":0,"journal":null,"mismatch":null,"peers":{"heard":2,"silent":3,"foreign":4,"otherOptions":5}}`: {Peers: nearcache.PeerCounts{Heard: 2, Silent: 3, Foreign: 4, OtherOptions: 5}, Trusted: true},
		`{"trusted":false,"why":null,"behind":"1.5s","busCut":true,"owed":2,"journal":"gone","mismatch":"another","peers":{"heard":0,"silent":0,"foreign":0,"otherOptions":0}}`: {
			Behind: 1500 * time.Millisecond, BusCut: true, PendingInvalidations: 2, Journal: errors.New("gone"), Mismatch: "another",
		},
	} {
		got, err := json.Marshal(h)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(got))
	}
	bubble(t, func(t *testing.T, f *fleet) {
		m := f.join()
		require.NoError(t, m.node.Close(atOnce))
		got, err := json.Marshal(m.node.Health())
		require.NoError(t, err)
		assert.Contains(t, string(got), `"why":"the node is closed"`)
	})
}
