package simulate

import "time"

// sourceFaults are those of the source.
func sourceFaults() []fault {
	const second = time.Second
	return []fault{
		{
			name: "slow-source", about: "loads take 1 to 4 s more", weight: 3, least: second, most: 6 * second,
			strike: func(f *fleet, s *Strike) func() {
				f.slower(time.Duration(1000+s.Roll%3000) * time.Millisecond)
				return func() { f.slower(0) }
			},
		},
		{
			name: "source-down", about: "loads fail", weight: 2, least: second, most: 6 * second,
			strike: func(f *fleet, _ *Strike) func() {
				f.source.failing.Store(true)
				return func() { f.source.failing.Store(false) }
			},
		},
	}
}

func (f *fleet) slower(by time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow = by
}
