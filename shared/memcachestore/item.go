package memcachestore

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/nearbus/nearbus/shared/driver"
)

const (
	maxName   = 250 // of an item, by the protocol
	maxPrefix = maxName - 1 - 2*sha256.Size

	// itemOverhead is what the server counts for an item beside its value,
	// with the longest name: header, cas number, name and its end, line end.
	itemOverhead = 48 + 8 + maxName + 1 + 2

	// maxRelative is the longest time that Memcached takes for a time from
	// now. What is longer is a Unix time.
	maxRelative = 30 * 24 * 60 * 60
)

// name returns the name of the item of key. Hashed names have no colon in
// them, and all others have, so none is like another.
func (s *Store) name(key string) string {
	prefix := s.opts.Prefix
	if len(prefix)+1+len(key) <= maxName && printable(key) {
		return prefix + ":" + key
	}
	sum := sha256.Sum256([]byte(key))
	return prefix + "!" + hex.EncodeToString(sum[:])
}

// printable reports whether s is printable ASCII without spaces.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// expiration returns ttl as Memcached takes it: rounded up to seconds, and one
// more because the server drops an item up to a second early. Zero means none.
// So do times that gomemcache has no number for: the record's own expiry still
// ends it.
func expiration(ttl time.Duration, now time.Time) int32 {
	if ttl <= 0 {
		return 0
	}
	seconds := int64((ttl-1)/time.Second) + 2
	if seconds > maxRelative {
		seconds += now.Unix()
	}
	if seconds > math.MaxInt32 {
		return 0
	}
	return int32(seconds)
}

// stored is what is under a name.
type stored struct {
	item   *memcache.Item // nil if there is none
	image  []byte         // stamped with its revision; nil if there is none or it has expired
	header driver.Record  // of the image, as the server has it
	err    error          // of decoding the header
}

// examine takes in an item from a server; nil means that there is none. A
// server without cas numbers is refused, because there a cas always succeeds.
func examine(item *memcache.Item, now time.Time) (stored, error) {
	st := stored{item: item}
	if item == nil {
		return st, nil
	}
	if item.CasID == 0 {
		return st, errNoCas
	}
	st.header, st.err = driver.DecodeHeader(item.Value)
	if st.err == nil && st.header.Hard != 0 && st.header.Hard <= now.UnixMilli() {
		return stored{item: item}, nil
	}
	if st.err == nil && st.header.Kind != driver.KindWatermark {
		driver.StampRevision(item.Value, driver.Revision{Number: item.CasID})
	}
	st.image = item.Value
	return st, nil
}

// carries reports whether st is a record with this nonce and a lease, or no
// lease, as asked.
func (st *stored) carries(nonce uint64, lease bool) bool {
	return st.image != nil && st.err == nil && st.header.Nonce == nonce && (st.header.Kind == driver.KindLease) == lease
}

// watermark returns the revision of st if it is a watermark, which is the only
// kind that has one of its own.
func (st *stored) watermark() driver.Revision {
	if st.header.Kind != driver.KindWatermark {
		return driver.Revision{}
	}
	return st.header.Revision
}
