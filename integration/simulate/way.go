package simulate

import (
	"sync"
	"time"
)

// way is one direction between a process and a host. Faults change what it is like,
// and connections of before go on under it.
type way struct {
	mu      sync.Mutex // protects the fields below
	weather weather
	cuts    int // faults that cut it
	streams map[*stream]struct{}
}

func newWay(w weather) *way { return &way{weather: w, streams: make(map[*stream]struct{})} }

func (w *way) add(s *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams[s] = struct{}{}
}

func (w *way) remove(s *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.streams, s)
}

func (w *way) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cuts > 0
}

func (w *way) latency(roll uint64) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.weather.latency(roll)
}

func (w *way) setWeather(to weather) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.weather = to
}

// cut lets nothing through: packets wait to be sent again once it is mended.
func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cuts++
}

// mend ends one cut. What waited arrives when it is sent again, which is the later,
// the longer the cut was.
func (w *way) mend(again time.Duration) {
	w.mu.Lock()
	w.cuts--
	w.mu.Unlock()
	for _, s := range w.all() {
		s.delay(again)
	}
}

func (w *way) all() []*stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*stream, 0, len(w.streams))
	for s := range w.streams {
		all = append(all, s)
	}
	return all
}

// reset breaks every connection.
func (w *way) reset() {
	for _, s := range w.all() {
		s.reset()
	}
}

// vanish makes every connection a half-open one.
func (w *way) vanish() {
	for _, s := range w.all() {
		s.vanish()
	}
}
