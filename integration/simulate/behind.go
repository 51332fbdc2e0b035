package simulate

import (
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// behind draws how late the replica of the source is that one load reads.
func (f *fleet) behind(name string, key uint32) time.Duration {
	if f.plan.Behind == 0 {
		return 0
	}
	return time.Duration(f.seed.mix("behind of "+name, uint64(key), uint64(now())) % uint64(f.plan.Behind))
}

// storing is how long it takes at most, while nothing is amiss, until what was loaded has
// its lifetime, beside the packets.
const storing = 100 * time.Millisecond

// lateLoad is a load that brought another version than the source had when it began.
type lateLoad struct {
	load
	version, latest int64
}

// credit says of reads what is not held against them since replicas of the source are
// behind. A value that was loaded late lives for SourceLag, or near for MaxStaleness if it
// was not stored. For so long it counts as the version that the source had then, and as an
// answer that says that it is old, for ever.
func (f *fleet) credit() {
	if f.plan.Behind == 0 {
		return
	}
	late := f.lateLoads()
	for _, l := range f.lives {
		for i := range l.records {
			f.creditTo(late, l.node, &l.records[i])
		}
	}
	for i := range f.oracle.claims {
		c := &f.oracle.claims[i]
		f.creditTo(late, c.life.node, &c.read)
	}
}

// lateLoads returns the loads that were behind, by key.
func (f *fleet) lateLoads() map[uint32][]lateLoad {
	late := make(map[uint32][]lateLoad)
	for _, l := range f.lives {
		for _, one := range l.loads {
			for key, version := range one.versions {
				if latest := f.source.asOf(key, one.began); version < latest && !one.failing {
					late[key] = append(late[key], lateLoad{one, version, latest})
				}
			}
		}
	}
	return late
}

func (f *fleet) creditTo(late map[uint32][]lateLoad, node int, r *history.Record) {
	if !r.Answered() {
		return
	}
	for i := range late[r.Key] {
		l := &late[r.Key][i]
		same := l.version == r.Version || r.Absent && absentAt(r.Key, l.version)
		if same && l.end <= r.End && (r.Stale || r.Start <= l.end+int64(f.lifeOf(l, node, r))) {
			r.Credit = max(r.Credit, l.latest)
		}
	}
}

// lifeOf is how long what l brought may be read.
func (f *fleet) lifeOf(l *lateLoad, node int, r *history.Record) time.Duration {
	life := max(f.plan.Behind, f.plan.MaxStaleness) + f.readTime() + storing
	if f.troubled(node, l.began, r.End, true) {
		life += f.plan.recovery()
	}
	return life
}
