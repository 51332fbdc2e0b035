package simulate

import (
	"slices"
	"time"

	"github.com/nearbus/nearbus/integration/history"
)

// fault is a kind of fault.
type fault struct {
	name, about string
	weight      int // how often it is drawn beside the others

	// least and most are how long it takes.
	least, most time.Duration

	// tier says that processes may not be able to read the journal meanwhile, bus that
	// they may not hear the bus; one says that it is about one process.
	tier, bus, one bool

	// whole says that a process does nothing at all meanwhile.
	whole bool

	// forgets says that the shared tier may not know afterwards when keys were invalidated.
	// What a replica of the source brings may then live for its whole TTL.
	forgets bool

	// redis says that it is one of Redis.
	redis bool

	// onlyBus says that it needs a bus with a server of its own.
	onlyBus bool

	// lacks is set if reads may be answered by a server that is no primary. It returns since
	// when such a server may lack writes, of which nobody told, at a time.
	lacks func(f *fleet, s *struck, at history.Moment) (since history.Moment)

	// strike makes it happen and returns what ends it; nil if it was not possible.
	strike func(f *fleet, s *Strike) (heal func())
}

// faults are all kinds there are, in the order of the table.
func faults() []fault {
	return slices.Concat(networkFaults(), busFaults(), serverFaults(), failovers(), stateFaults(), garbageFaults(), processFaults(), sourceFaults())
}

func faultNamed(name string) (fault, bool) {
	all := faults()
	i := slices.IndexFunc(all, func(f fault) bool { return f.name == name })
	if i < 0 {
		return fault{}, false
	}
	return all[i], true
}

// possible reports whether a fault makes sense in a plan.
func (k *fault) possible(p *Plan) bool {
	return (!k.onlyBus || p.Bus == OtherRedis) && (!k.redis || p.Store == Redis) && (!k.forgets || p.Behind == 0) && (len(p.Only) == 0 || slices.Contains(p.Only, k.name))
}

// strikesEach is how many faults there are in a minute, in the mean.
const strikesEach = 18.0

func (p *Plan) drawStrikes() {
	dice := seed(p.Seed).dice("strikes")
	var kinds []fault
	total := 0
	for _, k := range faults() {
		if k.possible(p) {
			kinds = append(kinds, k)
			total += k.weight
		}
	}
	if total == 0 || p.Quiet {
		return
	}
	for at := after(dice, strikesEach/60); at < p.Length; at += after(dice, strikesEach/60) {
		n := dice.IntN(total)
		i := slices.IndexFunc(kinds, func(k fault) bool { n -= k.weight; return n < 0 })
		k := &kinds[i]
		length := k.least
		if k.most > k.least {
			length += time.Duration(dice.Int64N(int64(k.most - k.least)))
		}
		p.Strikes = append(p.Strikes, Strike{Fault: k.name, At: at, Length: length, Node: dice.IntN(p.Nodes), Roll: dice.Uint64()})
	}
}

// strike carries out one strike, from its beginning to its end.
func (f *fleet) strike(s *Strike) {
	kind, ok := faultNamed(s.Fault)
	if !ok {
		panic("simulate: there is no fault " + s.Fault)
	}
	start := now()
	heal := kind.strike(f, s)
	if heal == nil {
		return
	}
	f.trouble(&kind, s, start)
	f.tell("%s begins, %s, for %s", s.Fault, f.whom(&kind, s), s.Length)
	_ = sleep(f.context, s.Length)
	heal()
	f.tell("%s ends, %s", s.Fault, f.whom(&kind, s))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.struck = append(f.struck, struck{s, history.Span{Start: start, End: now()}})
}

// struck is a strike that happened.
type struck struct {
	*Strike
	span history.Span
}

func (f *fleet) whom(k *fault, s *Strike) string {
	if k.one {
		return processName(s.Node)
	}
	return "everybody"
}

// trouble notes what a fault excuses.
func (f *fleet) trouble(k *fault, s *Strike, start history.Moment) {
	if !k.tier && !k.bus {
		return
	}
	node := -1
	if k.one {
		node = s.Node
	}
	end := start + int64(s.Length+f.plan.recovery())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.troubles = append(f.troubles, trouble{
		Span: history.Span{Start: start, End: end}, node: node, bus: !k.tier, mute: k.bus && (!k.tier || k.whole || f.plan.Bus == SameRedis),
		raw: history.Span{Start: start, End: start + int64(s.Length)},
	})
}
