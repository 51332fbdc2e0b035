package storetest_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

func deletesNothing(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		if kindOf(w.Image) == driver.KindTombstone {
			return driver.Receipt{}
		}
		return write(ctx, w)
	}
}

func deletesWithoutTombstone(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		r := write(ctx, w)
		if kindOf(w.Image) == driver.KindTombstone && r.Err == nil {
			f.clear(w.Key)
		}
		return r
	}
}

func keepsFirst(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		if _, old := f.peek(w.Key); old.Kind == driver.KindValue && kindOf(w.Image) == driver.KindValue {
			return driver.Receipt{Revision: old.Revision}
		}
		return write(ctx, w)
	}
}

func emptyIsMissing(f *faulty) {
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		for i := range images {
			if len(images[i]) == driver.HeaderSize && kindOf(images[i]) == driver.KindValue {
				images[i] = nil
			}
		}
		return images, err
	}
}

// textOnly ends what it reads at a line end.
func textOnly(f *faulty) {
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		for i, image := range images {
			if at := bytes.LastIndex(image, []byte("\r\n")); at > driver.HeaderSize {
				images[i] = image[:at]
			}
		}
		return images, err
	}
}

func truncates(f *faulty) {
	f.changing(func(w *driver.Write) { w.Image = w.Image[:min(len(w.Image), 32<<10)] })
}

func promisesTooMuch(f *faulty) { f.limit *= 2 }

func allowsTooMuch(f *faulty) { f.limit /= 2 }

// losesExtension knows records without one only.
func losesExtension(f *faulty) {
	f.changing(func(w *driver.Write) {
		if r, err := driver.DecodeRecord(w.Image); err == nil {
			r.Schema, r.TagClock, r.Slots, r.NearTTL, r.Ahead = 0, 0, nil, 0, 0
			w.Image = r.Append(nil)
		}
	})
}

// losesFlags knows values only that are stored as they are.
func losesFlags(f *faulty) {
	f.changing(func(w *driver.Write) {
		w.Image = bytes.Clone(w.Image)
		w.Image[5] = 0
	})
}

func losesCodec(f *faulty) {
	f.changing(func(w *driver.Write) {
		w.Image = bytes.Clone(w.Image)
		w.Image[4] = 0
	})
}

// keepsResult gives everybody the same slices.
func keepsResult(f *faulty) {
	given, copies := newNotes[[]byte](), newNotes[[]byte]()
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		for i, key := range keys[:len(images)] {
			if images[i] != nil && bytes.Equal(images[i], copies.get(key)) {
				images[i] = given.get(key)
				continue
			}
			given.set(key, images[i])
			copies.set(key, bytes.Clone(images[i]))
		}
		return images, err
	}
}

// keepsImage stores the slice that it is given, as far as a reader can tell.
func keepsImage(f *faulty) {
	given := newNotes[[]byte]()
	f.changing(func(w *driver.Write) { given.set(w.Key, w.Image) })
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		for i, image := range images {
			if kept := given.get(keys[i]); len(image) == len(kept) && len(kept) > 0 {
				copy(image[driver.NonceOffset:], kept[driver.NonceOffset:])
			}
		}
		return images, err
	}
}

// scribblesLater changes the slice that it was given after it returned.
func scribblesLater(f *faulty) {
	given := newNotes[[]byte]()
	f.changing(func(w *driver.Write) {
		image := w.Image
		w.Image = bytes.Clone(image) // first: others may scribble from then on
		given.set(w.Key, image)
	})
	read := f.read
	var mu sync.Mutex // held by who scribbles
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		mu.Lock()
		for _, key := range keys {
			copy(given.get(key), "scribble")
		}
		mu.Unlock()
		return read(ctx, keys)
	}
}

func batchSkipsMissing(f *faulty) {
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		if len(keys) > 1 {
			found := slices.DeleteFunc(slices.Clone(images), func(image []byte) bool { return image == nil })
			clear(images)
			copy(images, found)
		}
		return images, err
	}
}

func batchLosesDuplicates(f *faulty) {
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		seen := map[string]bool{}
		for i := range images {
			if seen[keys[i]] {
				images[i] = nil
			}
			seen[keys[i]] = true
		}
		return images, err
	}
}

func trims(f *faulty) { f.naming(strings.TrimSpace) }

func folds(f *faulty) { f.naming(strings.ToLower) }

func unicodeOnly(f *faulty) {
	f.naming(func(key string) string { return strings.ToValidUTF8(key, "\ufffd") })
}

func cString(f *faulty) {
	f.naming(func(key string) string { before, _, _ := strings.Cut(key, "\x00"); return before })
}

func shortKeys(f *faulty) {
	f.naming(func(key string) string { return key[:min(len(key), 250)] })
}

// hashTag takes what is in braces for the whole, as a cluster does for slots.
func hashTag(f *faulty) {
	f.naming(func(key string) string {
		if _, rest, ok := strings.Cut(key, "{"); ok {
			if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
				return tag
			}
		}
		return key
	})
}

func ignoresTTL(f *faulty) { f.changing(func(w *driver.Write) { w.TTL = 0 }) }

func wholeSeconds(f *faulty) {
	f.changing(func(w *driver.Write) { w.TTL = w.TTL.Truncate(time.Second) })
}

func roundsUp(f *faulty) {
	f.changing(func(w *driver.Write) { w.TTL = (w.TTL + time.Second - 1).Truncate(time.Second) })
}

// thirtyDays takes longer lifetimes for dates, as Memcached does.
func thirtyDays(f *faulty) {
	f.changing(func(w *driver.Write) {
		if w.TTL > 30*24*time.Hour {
			w.TTL = 1
		}
	})
}

func zeroIsNow(f *faulty) {
	f.changing(func(w *driver.Write) {
		if w.TTL == 0 {
			w.TTL = time.Second
		}
	})
}

func noSoftExpiry(f *faulty) { f.changing(func(w *driver.Write) { w.Soft = 0 }) }

func keepsFirstTTL(f *faulty) {
	write := f.write
	f.write = func(ctx context.Context, w driver.Write) driver.Receipt {
		if _, old := f.peek(w.Key); old.Hard != 0 {
			w.TTL = time.Until(time.UnixMilli(old.Hard))
		}
		return write(ctx, w)
	}
}

func halves(f *faulty) { f.changing(func(w *driver.Write) { w.TTL /= 2 }) }

// lateExpiry shows what expired for a while longer.
func lateExpiry(f *faulty) {
	given := newNotes[[]byte]()
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		for i, key := range keys[:len(images)] {
			if images[i] != nil {
				given.set(key, bytes.Clone(images[i]))
				continue
			}
			old, _ := driver.DecodeHeader(given.get(key))
			if old.Hard != 0 && time.Since(time.UnixMilli(old.Hard)) < 200*time.Millisecond {
				images[i] = bytes.Clone(given.get(key))
			}
		}
		return images, err
	}
}

func stopsClock(f *faulty) {
	start := time.Now()
	f.now = func(context.Context) (time.Time, error) { return start, nil }
}

// batchFailsTogether answers every write of a batch with the first error. It
// writes them, so that only the receipts are wrong.
func batchFailsTogether(f *faulty) {
	f.batch = func(ctx context.Context, writes []driver.Write) []driver.Receipt {
		receipts := f.eachWrite(ctx, writes)
		for _, r := range receipts {
			if r.Err != nil {
				return slices.Repeat([]driver.Receipt{r}, len(writes))
			}
		}
		return receipts
	}
}

// batchesAreSmall leaves out what is more than fits.
func batchesAreSmall(f *faulty) {
	f.batch = func(ctx context.Context, writes []driver.Write) []driver.Receipt {
		receipts := f.eachWrite(ctx, writes[:min(len(writes), 512)])
		return append(receipts, make([]driver.Receipt, len(writes)-len(receipts))...)
	}
}

// batchMixesReceipts answers the writes of a large batch in another order.
func batchMixesReceipts(f *faulty) {
	f.batch = func(ctx context.Context, writes []driver.Write) []driver.Receipt {
		receipts := f.eachWrite(ctx, writes)
		if len(writes) > 100 {
			slices.Reverse(receipts)
		}
		return receipts
	}
}

func needsKeys(f *faulty) {
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		if len(keys) == 0 {
			return nil, errFailed
		}
		return read(ctx, keys)
	}
}

func neverMissing(f *faulty) {
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		for i := range images {
			images[i] = append([]byte{}, images[i]...)
		}
		return images, err
	}
}

// forgets keeps every record for one read.
func forgets(f *faulty) {
	seen := newNotes[bool]()
	f.changing(func(w *driver.Write) { seen.set(w.Key, false) })
	read := f.read
	f.read = func(ctx context.Context, keys []string) ([][]byte, error) {
		images, err := read(ctx, keys)
		for i, key := range keys[:len(images)] {
			if seen.get(key) {
				images[i] = nil
			}
			seen.set(key, true)
		}
		return images, err
	}
}
