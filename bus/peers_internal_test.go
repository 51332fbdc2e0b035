package bus

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// said is a message of the process 7.
func said(sequence uint64) *frame {
	return &frame{message: Message{Node: "other", Incarnation: 7, Sequence: sequence}, kind: typeInvalidations}
}

// TestPeers_Break: what came in a break of the subscription is missing, which is told as a
// gap anyway: the first message after it is no hole.
func TestPeers_Break(t *testing.T) {
	p := &peers{opts: &Options{HeartbeatInterval: 3, HeartbeatTimeout: 10}}
	p.begin(100)
	assert.False(t, p.note(said(1), 101))
	p.end(105)
	p.begin(107)
	assert.False(t, p.note(said(5), 108))
	assert.True(t, p.note(said(7), 109), "6 is missing")
}

// TestPeers_BeforeTheSubscriptionStands: a transport may deliver before it says that the
// subscription stands. Nothing is missing then, and what comes first afterwards is no hole.
func TestPeers_BeforeTheSubscriptionStands(t *testing.T) {
	p := &peers{opts: &Options{HeartbeatInterval: 3, HeartbeatTimeout: 10}}
	assert.False(t, p.note(said(3), 98))
	assert.False(t, p.note(said(5), 99))
	p.begin(100)
	assert.False(t, p.note(said(8), 101))
	assert.True(t, p.note(said(10), 102), "9 is missing")
}

// TestPeers_LeftInABreak: while no subscription stands, no time is listened.
func TestPeers_LeftInABreak(t *testing.T) {
	p := &peers{opts: &Options{HeartbeatInterval: 3, HeartbeatTimeout: 10}}
	p.begin(100)
	goal := p.complete(100)
	p.end(103)
	left, stands := p.left(1000, goal)
	assert.Equal(t, time.Duration(7), left)
	assert.False(t, stands)
	p.begin(2000)
	left, stands = p.left(2004, goal)
	assert.Equal(t, time.Duration(3), left)
	assert.True(t, stands)
}

// TestPeers_SlowestCounts: where a peer is heard rarely, it takes longer to know of everybody, but no
// longer than a timeout for whoever asks everybody meanwhile.
func TestPeers_SlowestCounts(t *testing.T) {
	const second = int64(time.Second)
	p := &peers{opts: &Options{HeartbeatInterval: time.Second, HeartbeatTimeout: 10 * time.Second}}
	p.begin(100 * second)
	slow := &frame{message: Message{Node: "other", Incarnation: 7}, kind: typeHeartbeat, heartbeat: true}
	slow.extension.interval = 20 * time.Second
	p.note(slow, 101*second)
	for at, want := range map[int64]time.Duration{112: 10, 140: 10, 155: 5, 160: 0} {
		left, _ := p.left(at*second, p.complete(at*second))
		assert.Equal(t, want*time.Second, left, at)
	}
	goal := p.complete(112 * second)
	left, _ := p.left(122*second, goal)
	assert.Zero(t, left)
	assert.Equal(t, 160*second, p.learned())
}

// TestPeers_SilenceIsNews: that a process has fallen silent is told to who asks for peers.
func TestPeers_SilenceIsNews(t *testing.T) {
	p := &peers{opts: &Options{HeartbeatInterval: 3, HeartbeatTimeout: 10}}
	p.begin(100)
	p.note(said(1), 101)
	require.True(t, p.news())
	require.False(t, p.news())
	forgot, err := p.forgetSilent(112)
	assert.True(t, forgot)
	require.ErrorIs(t, err, ErrPeerSilent)
	assert.True(t, p.news())
}
