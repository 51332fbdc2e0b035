package simulate

import "testing"

func TestSimulate_Memcached(t *testing.T) {
	for s := range uint64(4) {
		p := NewPlan(s + 1)
		p.Store, p.Bus, p.Nodes = Memcached, OtherRedis, 3
		p.draw()
		one(t, p)
	}
}
