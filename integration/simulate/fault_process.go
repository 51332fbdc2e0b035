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
				l := f.end(s.Node)
				if l == nil {
					return nil
				}
				l.crash(s.Roll%2 == 0)
				return func() { f.again(s.Node) }
			},
		},
		{
			name: "deploy", about: "a process ends in order, and another takes its place", weight: 3,
			least: second / 10, most: 2 * second, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() {
				l := f.end(s.Node)
				if l == nil {
					return nil
				}
				l.retire()
				return func() { f.again(s.Node) }
			},
		},
		{
			name: "reconfigure", about: "a process ends in order, and another takes its place, with half the RepairInterval and a near TTL of 1 s; or with those of before", weight: 2,
			least: second / 10, most: 2 * second, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() {
				l := f.end(s.Node)
				if l == nil {
					return nil
				}
				l.retire()
				return func() {
					f.reconfigure(s.Node)
					f.again(s.Node)
				}
			},
		},
		{
			name: "pause", about: "a process is stopped, and what is sent to it waits", weight: 3,
			least: second / 10, most: 12 * second, tier: true, bus: true, one: true,
			strike: (*fleet).pause,
		},
	}
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
