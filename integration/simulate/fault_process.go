package simulate

import "time"

// processFaults are those of processes.
func processFaults() []fault {
	const second = time.Second
	return []fault{
		{
			name: "crash", about: "a process dies, and another takes its place", weight: 5,
			least: 3 * second, most: 6 * second, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() {
				return f.replace(s.Node, func(l *life) { l.crash(s.Roll%2 == 0) })
			},
		},
		{
			name: "deploy", about: "a process ends in order, and another takes its place", weight: 3,
			least: second / 10, most: 2 * second, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() {
				return f.replace(s.Node, (*life).retire)
			},
		},
		{
			name: "reconfigure", about: "a process ends in order, and another takes its place, with half the JournalInterval and a near TTL of 1 s; or with those of before", weight: 2,
			least: second / 10, most: 2 * second, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() {
				return f.replace(s.Node, func(l *life) {
					l.retire()
					f.reconfigure(s.Node)
				})
			},
		},
		{
			name: "pause", about: "a process is stopped, and what is sent to it waits", weight: 3,
			least: second / 10, most: 12 * second, tier: true, bus: true, one: true, whole: true,
			strike: (*fleet).pause,
		},
	}
}

// replace ends the life of a process in some way. What it returns begins the next one; it
// is nil if the process has no life.
func (f *fleet) replace(node int, end func(*life)) (next func()) {
	l := f.end(node)
	if l == nil {
		return nil
	}
	end(l)
	return func() { f.again(node) }
}

// reconfigure gives other options to the lives of a process that begin from now on.
func (f *fleet) reconfigure(node int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.processes[node].frugal = !f.processes[node].frugal
}

func (f *fleet) again(node int) {
	if err := f.begin(node); err != nil {
		panic(err)
	}
}

// pause holds back what a process sends and is sent, and its work.
func (f *fleet) pause(s *Strike) func() {
	f.mu.Lock()
	p := f.processes[s.Node]
	l := p.life
	if l == nil || p.paused != nil {
		f.mu.Unlock()
		return nil
	}
	p.paused = make(chan struct{})
	f.mu.Unlock()
	ways := f.network.waysOfProcess(l.name)
	for _, w := range ways {
		w.cut()
	}
	return func() {
		for _, w := range ways {
			w.mend(0)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		close(p.paused)
		p.paused = nil
	}
}
