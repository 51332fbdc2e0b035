// Package natsbus is a bus over NATS: core NATS, or JetStream.
//
//	nc, err := nats.Connect("nats://localhost:4222",
//		nats.MaxReconnects(-1),           // or the connection ends after 60 attempts
//		nats.IgnoreAuthErrorAbort(),      // or it ends when its login is refused twice
//		nats.ReconnectWait(100*time.Millisecond),
//		nats.PingInterval(2*time.Second), // or a dead connection is noticed after minutes
//		nats.RetryOnFailedConnect(true),
//	)
//	transport, err := natsbus.New(nc, natsbus.Options{})
//	b, err := bus.New(transport, bus.Options{})
//
// # Core NATS
//
// [Transport] needs nothing but a server. Order: payloads published through one
// connection arrive in the order of the calls. Duplication: none. Loss: NATS
// keeps nothing for a subscriber that is not connected. Every disconnection ends
// the subscription, although nats.go would restore it by itself, and so does a
// receiver that lags by more than 1024 payloads, from which nats.go drops those
// that come then. The subscription is made anew by the bus.
//
// A subscription is known to the server of the connection when Ready is called, and
// a moment later to the others: those of a cluster or a super-cluster, and leaf
// nodes. What is published there meanwhile is not heard. The bus makes up for it
// when [bus.Options.HeartbeatTimeout] has passed, see [bus.Handler.Ready]. A client
// cannot tell what servers there are, so the bus does this on every connection.
//
// Publish returns when the server has answered a ping sent after the payload.
//
// Another program invalidates with
//
//	nats pub nearbus 'invalidate users 42'
//
// Rights needed: publish and subscribe on the subject. What a user may not do is
// an error of Publish or Receive.
//
// # JetStream
//
// [Stream] keeps what is published for a while, 2 minutes by default, and replays
// what a receiver missed: a connection that is lost and comes back, a server that
// restarts, are no gap. What a node publishes in vain meanwhile is sent again by the
// bus. Order: that of the stream, the same for all. Duplication: a payload whose
// answer was lost is in the stream twice. (Message ids would have the server keep
// one for each payload of two minutes, for what does no harm.) Loss: none as long as the stream has what was missed. When
// it does not, because it was trimmed, emptied or made anew, the subscription
// ends, which is a gap. nats.go's own ordered consumer would go on without a
// word.
//
// The bus waits for its own heartbeat for [bus.Options.HeartbeatTimeout], 3 s by
// default, and then reports a gap whatever the stream could replay. A node whose
// shared tier keeps a journal repairs then, which costs little. Without one its
// near tier is flushed: there, a timeout as long as the outages that are to pass
// unnoticed keeps values near, and it is also for how long they may be old.
// nats.go waits for [nats.ReconnectWait] before it connects again, 2 s by
// default; 100 ms and a timeout of 10 s let a restart of the server pass.
//
// With replicas, a leader that is stopped hands over within a moment. One that dies,
// or is cut off, is replaced after 4 to 9 s, more if the first election fails: until
// then the stream takes nothing, which only a longer timeout, of 15 s, outlasts.
//
// Publish returns when the stream has stored the payload. The stream is created
// if there is none; see [StreamOptions] for what one that is there must be like.
//
// Another program invalidates with
//
//	nats pub nearbus.stream 'invalidate users 42'
//
// Rights needed: publish on the subject, on $JS.API.STREAM.INFO.NEARBUS,
// $JS.API.STREAM.CREATE.NEARBUS (not if the stream is there),
// $JS.API.CONSUMER.CREATE.NEARBUS.>, $JS.API.CONSUMER.MSG.NEXT.NEARBUS.> and
// $JS.API.CONSUMER.DELETE.NEARBUS.>; subscribe on _INBOX.>.
//
// # Both
//
// While the connection is down, Publish fails at once, where nats.go would keep
// the payload in a buffer and report success. A payload whose Publish failed by
// its context may still be sent, also after a reconnect.
//
// The connection is the user's: it is shared with whatever else uses it, this
// package sets no handler on it, does not reconnect it and never closes it. When
// it is dead without saying so, only nats.go can notice, by its pings: until
// then the bus reports a gap and nothing is heard. One that nats.go would give up for
// good is refused, see [New].
package natsbus
