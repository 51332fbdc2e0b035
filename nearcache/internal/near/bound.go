package near

// mostGrowth is how many times the bytes of the beginning a tier may have later: its index has
// room for as many entries as there would be then.
const mostGrowth = 4

// bound sets all bounds that follow from how many bytes there are, but for the policy, which keeps
// what it began with.
func (t *Tier) bound(bytes int64) {
	t.most.Store(min(bytes/largest, maxCost-1))
	t.tables.limit.Store(bytes / tablesShare)
	t.order.limit.Store(bytes - t.policy.fixed())
}

// MostBytes returns the largest bound that SetBytes takes.
func (t *Tier) MostBytes() int64 { return mostGrowth * t.conf.Bytes }

// leastRoom is how many bytes there are at least beside what the policy takes.
const leastRoom = 64 << 10

// LeastBytes returns the smallest bound that SetBytes takes: the policy keeps what it has.
func (t *Tier) LeastBytes() int64 { return leastRoom + t.policy.fixed() }

// SetBytes makes bytes the bound on the cost of all entries together, from now on. If they cost
// more, it gives up entries until they do not, and returns after that. shrink is called while the
// tables of tags take more than their share: it makes those of one space smaller, and reports false
// if there is no other.
func (t *Tier) SetBytes(bytes int64, shrink func() bool) {
	t.bound(bytes)
	for t.tables.bytes.Load() > t.tables.limit.Load() && shrink() {
	}
	t.makeRoom()
}

// spareShare is which part of the bound is left alone by those who fill the tier ahead of readers.
const spareShare = 16

// Spare returns how many bytes may come in before less than a sixteenth of the bound is free.
func (t *Tier) Spare() int64 {
	return t.order.room() - t.order.limit.Load()/spareShare - t.order.used.Load()
}
