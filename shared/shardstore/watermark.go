package shardstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/nearbus/nearbus/shared/driver"
)

// maxLegacies is how many watermarks of earlier homes are remembered.
const maxLegacies = 1 << 16

// legacy is what the earlier homes of a key have.
type legacy struct {
	image []byte // the watermark; nil if there is none
	swept uint64 // highest clock of the watermarks that were swept there
}

// Watermarks are the clocks of caches and tags. Records that did not move have
// them to be judged by, so unlike values they must survive a change of homes. A
// watermark that is not on its home is looked for on the homes before, the
// latest first; nothing is written there any more, so what was found, or not,
// holds for as long as the view, and is remembered. The first write on the new
// home goes on from it.

// isWatermark reports whether a key is that of a watermark. Those of package
// nearcache have an exclamation mark after the name of the cache; keys of values
// have a colon there. For others it costs a look at an earlier home.
func isWatermark(key string) bool {
	at := strings.IndexAny(key, ":!")
	return at >= 0 && key[at] == '!'
}

// inherited returns what the earlier homes have of the watermark that is called
// name on its home; nil if there is none, or if it is no watermark.
func (s *Store) inherited(ctx context.Context, v *view, name string) ([]byte, error) {
	l, err := s.legacyOf(ctx, v, name)
	return l.image, err
}

// legacyOf returns what the earlier homes have of what is called name on its home, nothing
// if that is no watermark. The caller owns it.
func (s *Store) legacyOf(ctx context.Context, v *view, name string) (l legacy, err error) {
	key, ok := keyOf(name)
	if len(v.maps) == 1 || !ok || !isWatermark(key) {
		return l, nil
	}
	s.legaciesMu.Lock()
	l, known := s.legacies[key]
	known = known && s.legaciesOf == v
	s.legaciesMu.Unlock()
	if !known {
		if l, err = s.searchFor(ctx, v.maps, key); err != nil {
			return legacy{}, err
		}
		s.bequeath(v, key, l)
	}
	l.image = s.adopted(key, l.image)
	return l, nil
}

// bequeath remembers what the earlier homes have.
func (s *Store) bequeath(v *view, key string, l legacy) {
	s.legaciesMu.Lock()
	defer s.legaciesMu.Unlock()
	if s.legaciesOf != v || len(s.legacies) >= maxLegacies {
		s.legacies, s.legaciesOf = make(map[string]legacy), v
	}
	s.legacies[strings.Clone(key)] = l
}

// adopted returns a copy of image with the epoch of the journal that key is in
// now: by the one of an earlier home it would seem to be from before a loss.
func (s *Store) adopted(key string, image []byte) []byte {
	image = bytes.Clone(image)
	if r, err := driver.DecodeHeader(image); err == nil && s.partitions > 0 {
		if epoch := s.epochs[s.Partition(key)].Load(); epoch != 0 {
			driver.StampRevision(image, driver.Revision{Epoch: epoch, Number: r.Revision.Number})
		}
	}
	return image
}

// proved takes in how far the shard is that answered for name, if its journal was not read
// yet: what a node takes in from the same answer, it judges watermarks by.
func (s *Store) proved(name string, head driver.Revision) {
	if key, ok := keyOf(name); ok && isWatermark(key) && s.partitions > 0 {
		s.epochs[s.Partition(key)].CompareAndSwap(0, head.Epoch)
	}
}

// acquirable returns the grant for a watermark, called name on its home, that is
// there on an earlier home and not on its own: it must not be made anew.
func (s *Store) acquirable(ctx context.Context, v *view, sh *shard, name string, l *driver.Lease) (grant *driver.Grant, err error) {
	if key, ok := keyOf(name); !ok || !isWatermark(key) || l.Renew {
		return nil, nil
	}
	image, err := s.inherited(ctx, v, name)
	if err != nil || image == nil {
		return nil, err
	}
	images, err := sh.store.Read(ctx, []string{name})
	if err != nil || images[0] != nil {
		return nil, err
	}
	return &driver.Grant{Status: driver.LeasePresent, Image: image}, s.stands(ctx, v, sh)
}

// searchFor looks for a watermark on the homes before the current one. What was swept there
// is asked for after the watermark, which is taken away in one step with that.
func (s *Store) searchFor(ctx context.Context, maps history, key string) (l legacy, err error) {
	sum := hash(key)
	for at := maps.stay(sum, len(maps)-1).first - 1; at >= 0; {
		stay := maps.stay(sum, at)
		at = stay.first - 1
		if stay.until <= maps.current().Expired {
			break
		}
		sh := s.byName[stay.home.Name]
		if sh == nil {
			return l, fmt.Errorf("%w: shard %q had a watermark and is not known here", ErrMap, stay.home.Name)
		}
		there := name(key, stay.since)
		images, err := sh.store.Read(ctx, []string{there})
		if err != nil {
			return l, sh.failed(err)
		}
		swept, err := sh.swept(ctx, there)
		if err != nil {
			return l, sh.failed(err)
		}
		l.swept = max(l.swept, swept)
		if r, err := driver.DecodeHeader(images[0]); err == nil && r.Kind == driver.KindWatermark {
			l.image = images[0]
			return l, nil
		}
	}
	return l, nil
}

// inherit makes a watermark that is to be written under its name go on from what the earlier
// homes have. One of theirs counts until it has expired with its home, so the one in front
// of it is not swept.
func (s *Store) inherit(ctx context.Context, v *view, w *driver.Write) error {
	kind := driver.Kind(w.Image[driver.KindOffset])
	if kind != driver.KindWatermark && (kind != driver.KindTombstone || w.Expect == 0) {
		return nil
	}
	l, err := s.legacyOf(ctx, v, w.Key)
	switch {
	case err != nil:
		return err
	case kind == driver.KindTombstone && l.image != nil:
		return driver.ErrLeaseLost
	case kind == driver.KindTombstone:
		return nil
	}
	clock := l.swept
	if l.image != nil {
		old, err := driver.DecodeHeader(l.image)
		if err != nil {
			return err
		}
		w.Floor = max(w.Floor, old.Revision.Number+1)
		clock = max(clock, old.Clock)
	}
	own := binary.BigEndian.Uint64(w.Image[driver.ClockOffset:])
	if clock > own && (l.image != nil || own > 0) {
		w.Image = bytes.Clone(w.Image) // it is the caller's
		binary.BigEndian.PutUint64(w.Image[driver.ClockOffset:], clock)
	}
	return nil
}
