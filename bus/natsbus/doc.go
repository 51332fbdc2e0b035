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
// connection arrive in the order of the calls. Duplication: none. Loss: NATS keeps
// nothing for a disconnected subscriber. Two events end a subscription, and the bus
// then subscribes anew:
//
//   - A disconnection, although nats.go would restore the subscription silently.
//   - A lag of more than 1024 payloads, from which on nats.go drops new payloads.
//
// When Ready is called, the server of the connection knows the subscription. The other
// servers of a cluster or a super-cluster, and leaf nodes, know it a moment later.
// Payloads published there in between are not heard. The bus makes up for them when
// [bus.Options.HeartbeatTimeout] has passed, see [bus.Handler.Ready]. A client cannot
// tell which servers there are. Hence the bus makes up for the moment on every
// connection.
//
// Publish returns when the server has answered a ping sent after the payload.
//
// Another program invalidates with
//
//	nats pub nearbus 'invalidate users 42'
//
// Rights needed: publish and subscribe on the subject. A missing right is an error of
// Publish or Receive.
//
// # JetStream
//
// [Stream] keeps payloads for a while, 2 minutes by default, and replays payloads
// missed by a receiver. A lost connection that comes back is no gap, and neither is a
// restart of a server. The bus sends again the payloads published in vain meanwhile.
// Order: the order of the stream, the same for all. Duplication: a payload is in the
// stream twice if its answer was lost. (Message ids would prevent harmless duplicates
// only, and make the server keep an id for each payload of two minutes.) Loss: none
// while the stream has the missed payloads. If the stream was trimmed, emptied or made
// anew, the subscription ends, which is a gap. nats.go's own ordered consumer would go
// on silently.
//
// The bus waits for its own heartbeat for [bus.Options.HeartbeatTimeout], 3 s by
// default, and then reports a gap, even if the stream could replay everything. With a
// journal in the shared tier, a node then reads the journal, which costs little.
// Without a journal, the near tier is flushed. There, a timeout as long as the expected
// outages keeps values near, and values may be old for as long. nats.go waits for
// [nats.ReconnectWait] before it connects again, 2 s by default; 100 ms and a timeout
// of 10 s let a restart of the server pass.
//
// With replicas, a stopped leader hands over within a moment. A dead or cut-off leader
// is replaced after 4 to 9 s, more if the first election fails. Until then the stream
// takes nothing, and only a longer timeout, of 15 s, outlasts the election.
//
// Publish returns when the stream has stored the payload. A missing stream is created;
// [StreamOptions] has the requirements for an existing stream.
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
// While the connection is down, Publish fails at once. nats.go alone would buffer the
// payload and report success. If Publish failed by its context, the payload may still
// be sent, also after a reconnect.
//
// The connection is the user's, and may be shared with other users. The package sets no
// handler on the connection, does not reconnect it and never closes it. Only nats.go
// can notice a silently dead connection, by its pings; until then the bus reports a
// gap, and nothing is heard. A connection which nats.go would give up for good is
// refused, see [New].
package natsbus
