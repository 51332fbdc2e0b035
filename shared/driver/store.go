package driver

import (
	"context"
	"time"
)

// Store is the contract that a driver fills. Callers use it through a shared.Tier.
//
// Every method may be called from many goroutines at once, blocks until the
// server answered or ctx ended, makes one attempt and never retries. (Where a
// client finds out only by a request that a connection which it kept had died, the
// store may make that request again.) When ctx
// ended, the error satisfies errors.Is(err, ctx.Err()); a driver whose client
// cannot be interrupted may answer as late as that client's own timeout. Other
// failures are returned as they are, wrapped once with the driver's name and
// the operation, and with ErrUnavailable if the server may soon give another
// answer, and never carry values or credentials. Keys have been checked
// by the Tier: 1 to MaxKeySize arbitrary bytes. A store must keep any two of
// them apart.
//
// A store keeps records as images: encoded [Record]s. It reads and stamps
// their headers and never interprets a value. All of its writes are atomic
// steps on the server. Reads are linearizable with writes: a driver refuses
// clients that are set up to read from replicas.
//
// The package storetest holds the suite that every driver must pass.
type Store interface {
	// Read returns what is stored under each key, in the order of keys, nil
	// where nothing is stored. It does not judge what it finds; a key that
	// holds something that cannot be read as bytes (a Redis list, say) reads
	// as a non-nil empty slice, or as missing. The caller owns the slices, which share
	// no memory with each other: it may keep one for long, and a part of it. When
	// the keys are on several servers and some of them failed, the error is a
	// [PartialError], and the others' keys have what is stored.
	Read(ctx context.Context, keys []string) ([][]byte, error)

	// Write puts each image in its place, whatever is there, and ends the lease
	// that may be there. A watermark that replaces a live watermark is stored
	// with the higher of their two clocks. The result has one Receipt for each
	// write, in order; Receipt.Err tells which failed. Writes are independent of
	// each other and may run in any order. The store must not keep an image or
	// change it after it returned; it may change it while it runs. When ctx has
	// ended, it may still be reading what it was given: the caller leaves images
	// and announcements of such a call as they are.
	Write(ctx context.Context, writes []Write) []Receipt

	// Acquire puts each lease in its place if no live value, KindNotFound
	// included, and no lease of another holder is there. With Lease.Renew it gives
	// its own lease, which must be in its place, another TTL, and does nothing
	// else: otherwise the error is ErrLeaseLost. (A renewal must never bring a
	// lease back that a write has ended: the load that it stands for is older than
	// the write.) The result has one Grant for each lease, in order; Grant.Err
	// tells which failed. Like writes, leases are independent of each other, and
	// the caller leaves them as they are when ctx has ended.
	Acquire(ctx context.Context, leases []Lease) []Grant

	// Fill is Write for holders of leases: each write replaces the lease record
	// whose nonce equals the nonce of the image, and nothing else. With
	// Write.Expect it replaces the record of any kind whose nonce that is, and
	// nothing else. When that record is not there the error is ErrLeaseLost.
	Fill(ctx context.Context, writes []Write) []Receipt

	// Time returns the clock that judges Write.NotAfter and stamps expiries.
	Time(ctx context.Context) (time.Time, error)

	// MaxImage returns the largest image that the store accepts under the
	// longest key, in bytes; 0 means no limit of its own.
	MaxImage() int
}

// Write asks a [Store] to put one record in its place.
type Write struct {
	Key   string
	Image []byte // encoded record, to be stamped

	// Soft and TTL are the lifetimes that the store stamps as expiries. After
	// TTL the record is gone. Zero means no expiry.
	Soft, TTL time.Duration

	// NotAfter is the moment, on the clock of Store.Time, after which the
	// write must not take effect; the store refuses it then with ErrTooLate.
	// It keeps a write that its caller gave up from landing on top of a later
	// one. Zero means no limit. A store whose server cannot judge it says so
	// in its documentation and makes sure in another way that an abandoned
	// write does not replace a later one.
	NotAfter time.Time

	// Expect, for Fill, is the nonce of the record to be replaced, read before
	// the load of the image began; 0 means the lease record with the nonce of
	// the image. Every write gives a record another nonce, so a value that was
	// refreshed never replaces what was written meanwhile.
	Expect uint64

	// KeepStale, for Write, keeps the old value for those who have no other: if
	// a value or one that was kept already is there, the same atomic step
	// leaves it there as KindStale, with the revision and the nonce of this
	// write and all else as it was, its expiries too. If not, the image, a
	// tombstone, is written as always.
	KeepStale bool

	// Floor is the least revision number that the write may be given. A store may pass
	// over one that is a day or more ahead of its clock, but not for a watermark: that
	// is given a number of at least Floor, and above the one of the watermark in its
	// place, as far as these are below [MaxRevision]. Its number is then far ahead of
	// the clock, too, and no other write goes on from there: the journal may have such
	// a watermark under a lower number, which Receipt.Entry tells.
	Floor uint64

	// Born, for Fill, is Grant.Revision of the lease that the image was loaded
	// under; zero if that is not known. The store gives the fill that revision, or
	// the least one that is above the record replaced: a record then says how old its
	// load is, and not when the load was stored. A store whose clock was set back
	// since may give a higher one. If an epoch began since, the store may have lost
	// what ended the lease, and refuses the fill with ErrLeaseLost.
	Born Revision

	// Journal, for Fill, has the journal tell of it, as it tells of a Write: what readers have of
	// the key is not to be served any longer. The store then gives it the revision of a write,
	// whatever Born is; an earlier epoch of Born is refused all the same.
	Journal bool

	// Announce, if set, is to be published by the same atomic step. Only
	// stores that implement [Announcer] are given one.
	Announce *Announcement
}

// Receipt answers one [Write].
//
// The revision of a write is higher than that of the record it replaced and
// than that of every earlier record of the key that the store can still know
// of. A repeated write, recognized by the nonce of the record that is in its
// place, is answered with the revision it has already. A store that does not
// learn the revision leaves it zero. The revision of a fill may be lower than that of
// a write of another key that came before it, see Write.Born.
type Receipt struct {
	Revision Revision
	Now      time.Time // the server's clock at the write; zero if unknown
	Err      error

	// Entry is a number that the journal has reached with the write: the one that it has the
	// write under, or a later one if the write is repeated. Zero is the number of Revision.
	// The two differ where a watermark is ahead of the clock, see Write.Floor.
	Entry uint64
}

// Entered returns Revision with the number of Entry.
func (r *Receipt) Entered() Revision {
	if r.Entry == 0 {
		return r.Revision
	}
	return Revision{Epoch: r.Revision.Epoch, Number: r.Entry}
}

// Announcement is a message that a store publishes together with a write.
type Announcement struct {
	Channel    string
	Payload    []byte
	RevisionAt int // 16 bytes from here are replaced by epoch and number, big endian
}

// Announcer is implemented by a [Store] that can publish a message in the same
// atomic step as a write.
type Announcer interface {
	// Endpoint returns the client that the store publishes through. A bus that
	// uses the equal client hears what the store announces. It returns nil
	// when this client cannot announce.
	Endpoint() any
}

// Clocked is implemented by a [Store] whose revisions come from the clocks of
// several servers. Its Time is another clock, the same for all keys.
type Clocked interface {
	// AtMost returns a time that the clock which gives the revisions of key has
	// not passed yet. It does not block.
	AtMost(key string) time.Time
}

// Lease asks a [Store] for the permission to load one missing key.
type Lease struct {
	Key   string
	Image []byte        // encoded lease record; its nonce is the token
	TTL   time.Duration // the lease ends by itself after this time

	// A value or a lease counts as absent if its clock is below MinClock. A
	// record counts as absent if it begins with Discard, which is then not
	// empty: the caller read it and could not use it.
	MinClock uint64
	Discard  []byte

	// Renew asks for more time for a lease that is held.
	Renew bool

	// NotAfter is as in Write.
	NotAfter time.Time
}

// Grant answers a [Lease].
type Grant struct {
	Status GrantStatus
	Image  []byte    // the record found, when Status is LeasePresent; the header of what the lease replaced, when it is LeaseGranted
	Now    time.Time // the server's clock; zero if unknown
	Err    error     // then there is no status

	// Revision is the one that a write would have been given at least, when Status is
	// LeaseGranted. A store without revisions leaves it zero.
	Revision Revision
}

// GrantStatus says what became of a request for a [Lease].
type GrantStatus uint8

// The outcomes of a request for a lease.
const (
	LeaseGranted  GrantStatus = iota + 1 // the caller holds the lease
	LeaseHeld                            // another holds it
	LeasePresent                         // there is a live value, in Grant.Image
	LeaseUnusable                        // there is something that is not ours to replace: a newer format, a foreign type
)

// Sweeper is implemented by a [Store] whose watermarks may be taken away without any of them
// ever falling. A Fill with [Write.Expect] that puts a tombstone in the place of a watermark
// sweeps it: in the same atomic step, the store remembers its clock, the highest for each
// group of keys that it keeps together. A watermark with a clock that is then written where
// none is, by Write or Fill, is stored with that clock at least. Hence whoever finds a
// watermark finds no lower one than was ever there, however late its writer is and whatever
// he knows.
type Sweeper interface {
	// Sweeps reports whether it does.
	Sweeps() bool

	// Swept returns what is remembered for the group of each key, in the order of keys; 0
	// where nothing was swept.
	Swept(ctx context.Context, keys []string) ([]uint64, error)
}

// Placed is implemented by a [Store] whose client decides by itself which server a key is
// on, by a list of servers that may differ between processes.
type Placed interface {
	// IdentityKeys is the number of keys that are needed to notice another list, and
	// another order of it.
	IdentityKeys() int
}

// Named is implemented by a [Store] that knows which namespace it was given.
type Named interface {
	// Namespace returns what [Namespace] made of it, or "" if keys begin with something
	// that was given in its place.
	Namespace() string
}
