package bus

import (
	"encoding/binary"
	"sync"
	"time"
)

// settingsPause is how long a process leaves between two messages with its settings:
// everybody hears each of them.
const settingsPause = time.Second

// asking are questions for the settings of others that are to be sent, and whether this
// process was asked for its own.
type asking struct {
	wake chan struct{} // there is something to send; never closed

	mu       sync.Mutex // protects the following fields
	asked    []uint64   // incarnations
	answer   bool
	answered time.Time // when the settings were sent last
}

// maxAsked is how many questions for settings wait to be sent.
const maxAsked = 64

// AskSettings asks a process for its [About].Settings, without waiting: the answer goes to
// [Handler].Settings of everybody. It may be lost, or never be given.
func (b *Bus) AskSettings(incarnation uint64) {
	a := &b.asking
	a.mu.Lock()
	if len(a.asked) < maxAsked {
		a.asked = append(a.asked, incarnation)
	}
	a.mu.Unlock()
	signal(a.wake)
}

// wanted takes in that this process is asked for its settings.
func (a *asking) wanted() {
	a.mu.Lock()
	a.answer = true
	a.mu.Unlock()
	signal(a.wake)
}

// due returns whom to ask, and whether to answer.
func (a *asking) due() (asked []uint64, answer bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked, a.asked = a.asked, nil
	if a.answer && time.Since(a.answered) >= settingsPause {
		a.answered, answer = time.Now(), true
	}
	a.answer = false // whoever gets no answer asks again
	return asked, answer
}

// sendSettings sends questions for settings, and the own ones. It ignores errors: what
// was lost is asked for again.
func (b *Bus) sendSettings(sequence uint64) {
	asked, answer := b.asking.due()
	if len(asked) > 0 {
		_ = b.transmit(encodeAsking(b.opts.Node, b.incarnation, sequence, asked), b.opts.PublishTimeout)
	}
	if answer {
		about := b.described()
		_ = b.transmit(encodeSettings(b.opts.Node, b.incarnation, sequence, &about, b.bodyLimit()), b.opts.PublishTimeout)
	}
}

func encodeAsking(node string, incarnation, sequence uint64, asked []uint64) []byte {
	dst := appendHeader(nil, typeAsking, node, incarnation, sequence)
	dst = binary.AppendUvarint(dst, uint64(len(asked)))
	for _, id := range asked {
		dst = binary.BigEndian.AppendUint64(dst, id)
	}
	return dst
}

// encodeSettings encodes as many settings of a as limit has room for.
func encodeSettings(node string, incarnation, sequence uint64, a *About, limit int) []byte {
	var body []byte
	count, cache := 0, ""
	for _, s := range a.Settings {
		if len(s.Cache) > maxCacheSize || len(s.Option) > maxSettingSize || len(s.Value) > maxSettingSize || s.Cache == "" {
			continue
		}
		size := len(body)
		name := s.Cache
		if name == cache {
			name = ""
		}
		body = appendString(appendString(appendString(body, name), s.Option), s.Value)
		if frameSize+8+len(body) > limit {
			body = body[:size]
			break
		}
		cache = s.Cache
		count++
	}
	dst := appendHeader(nil, typeSettings, node, incarnation, sequence)
	dst = binary.BigEndian.AppendUint64(dst, a.Options)
	dst = binary.AppendUvarint(dst, uint64(count))
	return append(dst, body...)
}

// readSettings reads what encodeSettings encodes.
func (f *frame) readSettings(r *reader) {
	f.digest = r.uint64()
	cache := ""
	for range r.uvarint(len(r.data) / 3) {
		if name := r.string(maxCacheSize); name != "" {
			cache = name
		}
		s := Setting{Cache: cache, Option: r.string(maxSettingSize), Value: r.string(maxSettingSize)}
		if r.faulty || cache == "" {
			r.faulty = true
			return
		}
		f.settings = append(f.settings, s)
	}
}
