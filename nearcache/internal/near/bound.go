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

// SetBytes makes bytes the bound on the cost of all entries together, from now on. If they cost
// more, it gives up entries until they do not, and returns after that.
func (t *Tier) SetBytes(bytes int64) {
	t.bound(bytes)
	t.makeRoom()
}
