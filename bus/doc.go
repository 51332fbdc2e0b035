// Package bus tells every process of a fleet what changed: which keys and tags of
// which caches were set, deleted or invalidated. It carries no values.
//
// [Bus] is the type that callers hold. It stands over a [Transport], the small
// contract that a driver fills, and does once what is the same for every
// driver: the wire format, batching, heartbeats, resubscribing and the
// reporting of lost continuity.
//
//	b, err := bus.New(transport, bus.Options{})
//	err = b.Subscribe(bus.Handler{Apply: apply, Gap: forgetAll})
//	err = b.Publish(ctx, bus.Invalidation{Op: bus.OpDelete, Cache: "users", Key: "42"})
//
// # What is delivered
//
// Everybody: each subscriber hears every message of the channel, also its own,
// marked [Message.Own].
//
// Order: messages of one publisher arrive in the order in which they were sent.
// Nothing is said about the order of messages of different publishers, nor of
// those that a store announces.
//
// Duplication: a message may arrive more than once, since one that failed may have
// arrived. Invalidations are to be applied so that this does not matter.
//
// Loss: messages may be lost, and a subscriber may miss all of them for a
// while. [Handler.Gap] says when that may have begun and [Handler.Ready] when it
// ended. A loss is reported when the transport says so, when the subscriber is
// too slow for it, when the connection is lost, when a message cannot be read,
// when the own heartbeat does not come back, and when a message of another
// process is missing: messages are numbered, and heartbeats name the latest. A
// process that falls silent without a goodbye is a loss as well. A process that
// was never heard of cannot be missed.
//
// # Heartbeats
//
// No client library is believed when it says that it is connected. Each Bus
// sends a heartbeat at an interval and must hear it through its own
// subscription: otherwise the subscription is given up after
// [Options.HeartbeatTimeout] and made anew. This is what heals a connection
// that is dead without saying so, and what bounds how far a subscriber may lag.
// A process that may not publish on the channel can therefore not listen to it.
//
// # Barriers
//
// [Bus.Barrier] waits until every process that listens has applied what this one
// sent before. Each says so by [Bus.Arrive], or, where the handler has no
// Barrier, the Bus does once Apply has returned. Who does not answer is asked
// again, so that questions and answers may be lost.
//
// # Slow subscribers
//
// The handler runs on the goroutine that receives. While it runs, messages wait
// in the transport, which bounds what it keeps; what it drops is a gap. No
// publisher ever waits for a subscriber.
//
// # Sending
//
// A message goes out at once when nothing is being sent. What is published
// meanwhile gathers in the next message. So nothing is added at low rates, and
// a message carries many keys under load. [Bus.Publish] returns when the server
// has the message.
//
// A message that fails is sent again, the same bytes with the same number, and
// what comes later waits behind it. Callers wait for [Options.PublishTimeout]
// while this process hears the channel, and are told of an error at once while it
// does not. Each new call of Publish makes another attempt. After HeartbeatTimeout the message is given up, which the other
// processes see by its number and report as a gap.
//
// # Plain text
//
// Anything that can publish on the channel can invalidate, with one line of
// text:
//
//	invalidate users 42 43
//	delete users 42
//	invalidate-tags users org:7 org:8
//	clear users
//
// The first word says what happened, the second names the cache, the others are
// keys or tags: one or more, or for clear none. Words are separated by spaces or
// tabs; a line end may follow the last, and nothing after it. A word that is
// empty, or contains white space, quotes, or bytes that are not printable UTF-8,
// is written as a Go string in double quotes, with escapes such as \n and \xff.
// The first word is never quoted. Such messages arrive with [Message.Text] set.
// [Options.IgnoreText] has them skipped. For the drivers of this module:
//
//	redis-cli PUBLISH nearbus 'invalidate users 42 43'
//	redis-cli -c SPUBLISH nearbus 'clear users'     # on a Redis Cluster
//	nats pub nearbus 'delete users "John Smith"'
//
// # What comes from outside
//
// The format of messages is versioned and described in docs/design/formats.md. Payloads
// that are no messages are counted, logged when they begin to come, and skipped. A payload that claims to be a
// message and cannot be read, since it is damaged or of a newer version, may have
// been news and is a gap; a heartbeat of a newer version is not, nor is any type
// of message from 128 on. Cache names have 1 to 255 bytes, keys 1 to 1024, tags 1
// to 256, of any kind, and messages at most 64 KiB.
package bus
