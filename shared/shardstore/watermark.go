package shardstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/nearbus/nearbus/shared"
)

// maxLegacies is how many watermarks of earlier homes are remembered.
const maxLegacies = 1 << 16

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
	key, ok := keyOf(name)
	if len(v.maps) == 1 || !ok || !isWatermark(key) {
		return nil, nil
	}
	s.legaciesMu.Lock()
	image, known := s.legacies[key]
	known = known && s.legaciesOf == v
	s.legaciesMu.Unlock()
	if known {
		return bytes.Clone(image), nil
	}
	image, err := s.searchFor(ctx, v.maps, key)
	if err != nil {
		return nil, err
	}
	s.legaciesMu.Lock()
	defer s.legaciesMu.Unlock()
	if s.legaciesOf != v || len(s.legacies) >= maxLegacies {
		s.legacies, s.legaciesOf = make(map[string][]byte), v
	}
	s.legacies[strings.Clone(key)] = bytes.Clone(image)
	return image, nil
}

// searchFor looks for a watermark on the homes before the current one.
func (s *Store) searchFor(ctx context.Context, maps history, key string) ([]byte, error) {
	sum := hash(key)
	for at := maps.stay(sum, len(maps)-1).first - 1; at >= 0; {
		stay := maps.stay(sum, at)
		at = stay.first - 1
		if stay.until <= maps.current().Expired {
			break
		}
		sh := s.byName[stay.home.Name]
		if sh == nil {
			return nil, fmt.Errorf("%w: shard %q had a watermark and is not known here", ErrMap, stay.home.Name)
		}
		images, err := sh.store.Read(ctx, []string{name(key, stay.since)})
		if err != nil {
			return nil, sh.failed(err)
		}
		if r, err := shared.DecodeHeader(images[0]); err == nil && r.Kind == shared.KindWatermark {
			return images[0], nil
		}
	}
	return nil, nil
}

// inherit makes a watermark that is to be written under its name go on from
// what the earlier homes have.
func (s *Store) inherit(ctx context.Context, v *view, w *shared.Write) error {
	if shared.Kind(w.Image[shared.KindOffset]) != shared.KindWatermark {
		return nil
	}
	image, err := s.inherited(ctx, v, w.Key)
	if err != nil || image == nil {
		return err
	}
	old, err := shared.DecodeHeader(image)
	if err != nil {
		return err
	}
	w.Floor = max(w.Floor, old.Revision.Number+1)
	if old.Clock > binary.BigEndian.Uint64(w.Image[shared.ClockOffset:]) {
		w.Image = bytes.Clone(w.Image) // it is the caller's
		binary.BigEndian.PutUint64(w.Image[shared.ClockOffset:], old.Clock)
	}
	return nil
}
