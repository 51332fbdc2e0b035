package bus

// Op says what happened to a key or a cache.
type Op uint8

// The operations that travel on the bus.
const (
	OpSet        Op = 1 // a new value was stored
	OpDelete     Op = 2 // the value was deleted
	OpInvalidate Op = 3 // the value is stale
	OpClear      Op = 4 // every value of the cache is gone
	OpTag        Op = 5 // every value with the tag is stale
)

// Invalidation is news that a key, a tag or a whole cache changed.
type Invalidation struct {
	Op    Op
	Cache string
	Key   string // for OpTag the tag, for OpClear empty

	// Epoch and Revision are the revision of the write, zero if unknown. For
	// OpClear, Revision is the new clock of the cache; for OpTag, both are that
	// of the watermark of the tag.
	Epoch, Revision uint64
}

// Message is one message of one publisher.
type Message struct {
	// Node is the name of the publisher, Incarnation the number it took when
	// it started. Both are zero in a text message.
	Node        string
	Incarnation uint64

	// Sequence counts the messages of an incarnation from 1. It is 0 in
	// messages that a store announced, and in text messages.
	Sequence uint64

	// Own reports that this Bus is the publisher.
	Own bool

	// Text reports that the message came in the plain-text form: it was sent
	// by a person or a foreign program that changed nothing in the shared
	// tier.
	Text bool

	Invalidations []Invalidation
}
