// Package bus tells every process of a fleet of changes: the keys and tags of caches
// that were set, deleted or invalidated. The bus carries no values.
//
// Callers hold a [Bus]. A Bus stands over a [Transport], the small contract of a
// driver, and does everything that is the same for all drivers: the wire format,
// batching, heartbeats, resubscribing, and reports of lost continuity.
//
//	b, err := bus.New(transport, bus.Options{})
//	err = b.Subscribe(bus.Handler{Apply: apply, Gap: forgetAll})
//	err = b.Publish(ctx, bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "42"})
//
// # What is delivered
//
// Everybody: each subscriber hears every message of the channel, own messages included,
// which are marked [Message.Own].
//
// Order: messages of one publisher arrive in the order of sending. Messages of
// different publishers, and messages announced by a store, have no order.
//
// Duplication: a message may arrive more than once, since a failed message may have
// arrived. Apply invalidations in a way that tolerates duplicates.
//
// Loss: messages may be lost, and a subscriber may miss all messages for a while.
// [Handler.Gap] tells when a loss may have begun, and [Handler.Ready] when the loss
// ended. Each of these is reported as a loss:
//
//   - The transport reports a loss, or the subscriber is too slow for the transport.
//   - The connection is lost.
//   - A message cannot be read.
//   - The own heartbeat does not come back.
//   - A message of another process is missing: messages are numbered, and heartbeats
//     name the latest number.
//   - A process falls silent without a goodbye, unless it has [Options.ReadOnly].
//
// A process that was never heard of cannot be missed.
//
// # Heartbeats
//
// The Bus does not trust a client library that reports a connection. Each Bus sends
// heartbeats at an interval, and must hear them through its own subscription. After
// [Options.HeartbeatTimeout] without an own heartbeat, the Bus gives the subscription
// up and subscribes anew. In a large fleet with [Handler.Repairs], heartbeats are rarer, and say
// when the next one comes at the latest. Heartbeats thus heal silently dead connections, and bound the
// lag of a subscriber. A process without the right to publish on the channel can
// therefore not listen.
//
// # Barriers
//
// [Bus.Barrier] waits until every listening process has applied the earlier messages of
// the caller. A process answers by [Bus.Ack]. Where the handler has no Barrier, the
// Bus answers once Apply has returned. A process without an answer is asked again,
// since questions and answers may be lost.
//
// # Slow subscribers
//
// The handler runs on the receiving goroutine. While the handler runs, messages wait in
// the transport, which bounds their number; dropped messages are a gap. No publisher
// ever waits for a subscriber.
//
// # Sending
//
// An idle Bus sends a message at once. While a send is under way, new invalidations
// gather in the next message. Hence nothing is delayed at low rates, and a message
// carries many keys under load. [Bus.Publish] returns when the server has the message.
//
// A failed message is sent again, the same bytes with the same number, and later
// messages wait behind it. While this process hears the channel, callers wait for
// [Options.PublishTimeout]; otherwise callers get the error at once. Each new call of
// Publish makes another attempt. After HeartbeatTimeout the message is given up. The
// other processes notice by the number, and report a gap.
//
// # Plain text
//
// Any client with the right to publish on the channel can invalidate, by a line of
// text:
//
//	invalidate users 42 43
//	delete users 42
//	invalidate-tags users org:7 org:8
//	clear users
//
// The first word is the operation, the second the name of the cache. The others are
// keys or tags: one or more, or none for clear. Spaces or tabs separate words. A line
// end may follow the last word, and nothing else. A word is written as a Go string in
// double quotes, with escapes such as \n and \xff, if the word is empty, or contains
// white space, quotes, or bytes other than printable UTF-8. The first word is never
// quoted. Text messages arrive with [Message.Text] set. With [Options.IgnoreText], text
// messages are skipped. Examples for the drivers of this module:
//
//	redis-cli PUBLISH nearbus 'invalidate users 42 43'
//	redis-cli -c SPUBLISH nearbus 'clear users'     # on a Redis Cluster
//	nats pub nearbus 'delete users "John Smith"'
//
// # What comes from outside
//
// The format of messages is versioned, and described in docs/design/formats.md.
// Payloads that are no messages are counted, logged at the beginning of a series, and
// skipped. A damaged message, or a message of a newer version, may have been news and
// is a gap. A heartbeat of a newer version is no gap, and neither is any message type
// from 128 on.
//
// Cache names have 1 to 255 bytes, keys 1 to 1024, tags 1 to 256, of any kind, and
// messages at most 64 KiB.
package bus
