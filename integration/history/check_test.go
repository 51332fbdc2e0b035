package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const ms = int64(time.Millisecond)

func wrote(version int64, start, end int64) Record {
	return Record{Kind: Acked, Key: 1, Version: version, Start: start * ms, End: end * ms}
}

func got(version int64, start, end int64) Record {
	return Record{Kind: Read, Key: 1, Version: version, Start: start * ms, End: end * ms}
}

func rested(version int64, start int64) Record {
	return Record{Kind: AtRest, Key: 1, Version: version, Start: start * ms, End: start*ms + 1}
}

func unsure(version int64, start, end int64) Record {
	return Record{Kind: GaveUp, Key: 1, Version: version, Start: start * ms, End: end * ms}
}

// TestCheck feeds histories with known violations.
func TestCheck(t *testing.T) {
	const bound = 100 * time.Millisecond
	type counts struct{ stale, late, back, own, rest int }
	for name, c := range map[string]struct {
		lives [][]Record
		want  counts
	}{
		"nothing": {},
		"sound": {
			lives: [][]Record{{wrote(1, 0, 10), got(1, 11, 12)}, {got(0, 5, 6), got(1, 20, 21), rested(1, 500)}},
		},
		"a read that overlaps the write may miss it": {
			lives: [][]Record{{wrote(1, 0, 10)}, {got(0, 9, 30)}},
		},
		"stale within the bound": {
			lives: [][]Record{{wrote(1, 0, 10)}, {got(0, 110, 111)}},
			want:  counts{stale: 1},
		},
		"stale beyond the bound": {
			lives: [][]Record{{wrote(1, 0, 10)}, {got(0, 111, 112)}},
			want:  counts{stale: 1, late: 1},
		},
		"the earliest write that was missed counts": {
			lives: [][]Record{{wrote(1, 0, 10), wrote(2, 90, 100)}, {got(0, 111, 112)}},
			want:  counts{stale: 1, late: 1},
		},
		"a later version acknowledged earlier counts": {
			lives: [][]Record{{wrote(1, 0, 200)}, {wrote(2, 1, 10)}, {got(0, 150, 151)}},
			want:  counts{stale: 1, late: 1},
		},
		"a newer version than the missing one is no staleness": {
			lives: [][]Record{{wrote(1, 0, 10)}, {got(2, 500, 501)}},
		},
		"a write that failed binds nobody else": {
			lives: [][]Record{{unsure(1, 0, 10)}, {got(0, 500, 501)}},
		},
		"a write that failed binds its process": {
			lives: [][]Record{{unsure(1, 0, 10), got(0, 11, 12)}},
			want:  counts{own: 1},
		},
		"own write missed": {
			lives: [][]Record{{wrote(1, 0, 10), got(0, 11, 12)}},
			want:  counts{stale: 1, own: 1},
		},
		"another life of the process has not written it": {
			lives: [][]Record{{wrote(1, 0, 10)}, {got(0, 11, 12)}},
			want:  counts{stale: 1},
		},
		"back in time": {
			lives: [][]Record{{got(2, 0, 10), got(1, 11, 12)}},
			want:  counts{back: 1},
		},
		"reads that overlap have no order": {
			lives: [][]Record{{got(2, 0, 10), got(1, 9, 12)}},
		},
		"another process may be behind": {
			lives: [][]Record{{got(2, 0, 10)}, {got(1, 11, 12)}},
		},
		"back in time after a long read": {
			lives: [][]Record{{got(3, 0, 100), got(2, 5, 6), got(2, 50, 51), got(1, 60, 61), got(2, 101, 102)}},
			want:  counts{back: 2},
		},
		"stale at rest": {
			lives: [][]Record{{wrote(1, 0, 10)}, {rested(0, 50)}},
			want:  counts{stale: 1, rest: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := (&History{Lives: c.lives}).Check(Always(bound))
			assert.Equal(t, c.want, counts{len(v.Ages), v.Late, v.Back, v.OwnMisses, v.StaleRest})
			assert.Equal(t, c.want.late+c.want.back+c.want.own+c.want.rest, v.Violations())
		})
	}
}

// TestCheck_Losses: what the shared tier lost excuses reads that miss nothing
// else, for as long as the bound.
func TestCheck_Losses(t *testing.T) {
	const bound = 1000 * time.Millisecond
	death := []Loss{{
		Died: 100 * ms, Back: 150 * ms, Lost: func(r *Record) bool { return r.Start < 100*ms && r.End > 50*ms },
	}}
	type counts struct{ late, back, own, lost, excused int }
	for name, c := range map[string]struct {
		lives [][]Record
		want  counts
	}{
		"own write missed": {
			lives: [][]Record{{wrote(1, 60, 61), got(0, 160, 161)}},
			want:  counts{lost: 1, excused: 1},
		},
		"own write of unknown outcome missed": {
			lives: [][]Record{{unsure(1, 60, 61), got(0, 160, 161)}},
			want:  counts{excused: 1},
		},
		"own write missed for too long": {
			lives: [][]Record{{wrote(1, 60, 61), got(0, 1151, 1152)}},
			want:  counts{late: 1, own: 1, lost: 1},
		},
		"own write missed before the loss": {
			lives: [][]Record{{wrote(1, 60, 61), got(0, 70, 71)}},
			want:  counts{own: 1, lost: 1},
		},
		"another own write missed, which was kept": {
			lives: [][]Record{{wrote(1, 10, 11), wrote(2, 60, 61), got(0, 160, 161)}},
			want:  counts{own: 1, lost: 1},
		},
		"own write after the loss missed": {
			lives: [][]Record{{wrote(1, 101, 102), got(0, 160, 161)}},
			want:  counts{own: 1},
		},
		"late": {
			lives: [][]Record{{wrote(1, 60, 61)}, {got(0, 1100, 1101)}},
			want:  counts{lost: 1, excused: 1},
		},
		"late behind a kept write": {
			lives: [][]Record{{wrote(1, 10, 11), wrote(2, 60, 61)}, {got(0, 1100, 1101)}},
			want:  counts{late: 1, lost: 1},
		},
		"back in time": {
			lives: [][]Record{{wrote(1, 60, 61)}, {got(1, 70, 71), got(0, 160, 161)}},
			want:  counts{lost: 1, excused: 1},
		},
		"back in time behind a kept write": {
			lives: [][]Record{{wrote(1, 10, 11), wrote(2, 60, 61)}, {got(2, 70, 71), got(0, 160, 161)}},
			want:  counts{back: 1, lost: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := (&History{Lives: c.lives, Losses: death}).Check(Always(bound))
			assert.Equal(t, c.want, counts{v.Late, v.Back, v.OwnMisses, v.Lost, v.Excused})
		})
	}
}

// TestCheck_LossThatStays: of what a deposed server took nobody can know.
func TestCheck_LossThatStays(t *testing.T) {
	loss := Loss{
		Died: 100 * ms, Back: 150 * ms, Stays: true,
		Lost: func(r *Record) bool { return r.Start >= 100*ms && r.End < 150*ms },
	}
	check := func(lives ...[]Record) Verdict {
		return (&History{Lives: lives, Losses: []Loss{loss}}).Check(Always(time.Second))
	}
	lost, kept := wrote(1, 110, 120), wrote(2, 160, 170)
	v := check([]Record{lost}, []Record{got(0, 5000, 5001), rested(0, 9000)})
	assert.Zero(t, v.Violations())
	assert.Equal(t, 2, v.Excused)
	v = check([]Record{lost, kept}, []Record{got(1, 5000, 5001), rested(1, 9000)})
	assert.Equal(t, 2, v.Late)
	assert.Equal(t, 1, v.StaleRest)
}

func TestCheck_KeysAreApart(t *testing.T) {
	other := got(0, 500, 501)
	other.Key = 2
	v := (&History{Lives: [][]Record{{wrote(1, 0, 10), got(1, 11, 12), other}}}).Check(Always(0))
	assert.Zero(t, v.Violations())
}

func TestCheck_Recovery(t *testing.T) {
	lives := [][]Record{{wrote(1, 0, 10)}, {
		got(0, 300, 301), // while the fault is there
		got(0, 700, 701), // 200 ms after its end
		got(1, 800, 801),
	}}
	v := (&History{Lives: lives, Faults: []Span{{20 * ms, 500 * ms}}}).Check(Always(time.Second))
	assert.Equal(t, 200*time.Millisecond, v.Recovery)
	assert.Equal(t, 690*time.Millisecond, v.Ages[len(v.Ages)-1])
}

func TestVerdict_Quantile(t *testing.T) {
	v := Verdict{Reads: 100, Ages: []time.Duration{3, 5}}
	assert.Zero(t, v.Quantile(0.5))
	assert.Zero(t, v.Quantile(0.98))
	assert.Equal(t, time.Duration(3), v.Quantile(0.99))
	assert.Equal(t, time.Duration(5), v.Quantile(1))
	empty := Verdict{}
	assert.Zero(t, empty.Quantile(0.5))
}
