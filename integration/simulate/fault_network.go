package simulate

import "time"

// networkFaults are those of the ways between processes and servers.
func networkFaults() []fault {
	const second = time.Second
	tier := func(f *fleet) string { p, _ := f.servers.now(); return p.name }
	return []fault{
		{
			name: "cut", about: "a process and the shared tier do not reach each other; what was sent arrives late", weight: 5,
			least: second / 10, most: 8 * second, tier: true, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() { return f.cut(s, tier(f), false, true) },
		},
		{
			name: "deaf", about: "what the shared tier sends does not reach a process", weight: 5,
			least: second / 10, most: 8 * second, tier: true, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() { return f.cut(s, tier(f), true) },
		},
		{
			name: "mute", about: "what a process sends does not reach the shared tier, or late", weight: 5,
			least: second / 10, most: 8 * second, tier: true, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() { return f.cut(s, tier(f), false) },
		},
		{
			name: "half-open", about: "all connections of a process to the shared tier carry nothing any more, and stay open", weight: 5,
			tier: true, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() { return f.toEach(s, tier(f), (*way).vanish) },
		},
		{
			name: "reset", about: "all connections of a process to the shared tier are reset", weight: 5,
			tier: true, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() { return f.toEach(s, tier(f), (*way).reset) },
		},
		{
			name: "storm", about: "packets between a process and the shared tier take long, and are lost", weight: 4,
			least: second, most: 10 * second, tier: true, bus: true, one: true,
			strike: func(f *fleet, s *Strike) func() {
				w := f.network.calm
				w.sometime, w.longest, w.loss, w.again = 0.1, 700*time.Millisecond, 0.05, 200*time.Millisecond
				return f.weather(s, tier(f), w)
			},
		},
	}
}

// busFaults are those of the ways between processes and a server that is of the bus alone.
func busFaults() []fault {
	const second = time.Second
	return []fault{
		{
			name: "bus-cut", about: "a process and the server of the bus do not reach each other", weight: 8,
			least: second / 10, most: 15 * second, bus: true, one: true, onlyBus: true,
			strike: func(f *fleet, s *Strike) func() { return f.cut(s, "redis-bus", false, true) },
		},
		{
			name: "bus-deaf", about: "what the server of the bus sends does not reach a process", weight: 8,
			least: second / 10, most: 15 * second, bus: true, one: true, onlyBus: true,
			strike: func(f *fleet, s *Strike) func() { return f.cut(s, "redis-bus", true) },
		},
		{
			name: "bus-half-open", about: "all connections of a process to the bus carry nothing any more, and stay open", weight: 8,
			bus: true, one: true, onlyBus: true,
			strike: func(f *fleet, s *Strike) func() { return f.toEach(s, "redis-bus", (*way).vanish) },
		},
		{
			name: "bus-storm", about: "packets between a process and the bus take long, and are lost", weight: 6,
			least: second, most: 10 * second, bus: true, one: true, onlyBus: true,
			strike: func(f *fleet, s *Strike) func() {
				w := f.network.calm
				w.sometime, w.longest, w.loss, w.again = 0.2, 2*time.Second, 0.1, 200*time.Millisecond
				return f.weather(s, "redis-bus", w)
			},
		},
	}
}

// identity is what the life of a process is called on the network; empty if it has none.
func (f *fleet) identity(node int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.processes[node].life; l != nil {
		return l.name
	}
	return ""
}

// cut cuts the directions between a process and a host. When it is mended, packets are
// sent again as the client would have: the longer it was cut, the later.
func (f *fleet) cut(s *Strike, host string, directions ...bool) func() {
	process := f.identity(s.Node)
	if process == "" {
		return nil
	}
	var ways []*way
	for _, in := range directions {
		w := f.network.way(process, host, in)
		w.cut()
		ways = append(ways, w)
	}
	return func() {
		for i, w := range ways {
			again := time.Duration(unit(scramble(s.Roll+uint64(i))) * float64(min(s.Length, longestAgain)))
			w.mend(again)
		}
	}
}

// toEach does something to both directions between a process and a host.
func (f *fleet) toEach(s *Strike, host string, do func(*way)) func() {
	process := f.identity(s.Node)
	if process == "" {
		return nil
	}
	for _, w := range f.network.both(process, host) {
		do(w)
	}
	return func() {}
}

func (f *fleet) weather(s *Strike, host string, to weather) func() {
	process := f.identity(s.Node)
	if process == "" {
		return nil
	}
	ways := f.network.both(process, host)
	for _, w := range ways {
		w.setWeather(to)
	}
	return func() {
		for _, w := range ways {
			w.setWeather(f.network.calm)
		}
	}
}
