package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const ms = int64(time.Millisecond)

func wrote(version int64, start, end int64) record {
	return record{kind: acked, key: 1, version: version, start: start * ms, end: end * ms}
}

func got(version int64, start, end int64) record {
	return record{kind: read, key: 1, version: version, start: start * ms, end: end * ms}
}

func rested(version int64, start int64) record {
	return record{kind: atRest, key: 1, version: version, start: start * ms, end: start*ms + 1}
}

func unsure(version int64, start, end int64) record {
	return record{kind: gaveUp, key: 1, version: version, start: start * ms, end: end * ms}
}

// TestCheck feeds histories with known violations.
func TestCheck(t *testing.T) {
	const bound = 100 * time.Millisecond
	type counts struct{ stale, late, back, own, rest int }
	for name, c := range map[string]struct {
		lives [][]record
		want  counts
	}{
		"nothing": {},
		"sound": {
			lives: [][]record{{wrote(1, 0, 10), got(1, 11, 12)}, {got(0, 5, 6), got(1, 20, 21), rested(1, 500)}},
		},
		"a read that overlaps the write may miss it": {
			lives: [][]record{{wrote(1, 0, 10)}, {got(0, 9, 30)}},
		},
		"stale within the bound": {
			lives: [][]record{{wrote(1, 0, 10)}, {got(0, 110, 111)}},
			want:  counts{stale: 1},
		},
		"stale beyond the bound": {
			lives: [][]record{{wrote(1, 0, 10)}, {got(0, 111, 112)}},
			want:  counts{stale: 1, late: 1},
		},
		"the earliest write that was missed counts": {
			lives: [][]record{{wrote(1, 0, 10), wrote(2, 90, 100)}, {got(0, 111, 112)}},
			want:  counts{stale: 1, late: 1},
		},
		"a later version acknowledged earlier counts": {
			lives: [][]record{{wrote(1, 0, 200)}, {wrote(2, 1, 10)}, {got(0, 150, 151)}},
			want:  counts{stale: 1, late: 1},
		},
		"a newer version than the missing one is no staleness": {
			lives: [][]record{{wrote(1, 0, 10)}, {got(2, 500, 501)}},
		},
		"a write that failed binds nobody else": {
			lives: [][]record{{unsure(1, 0, 10)}, {got(0, 500, 501)}},
		},
		"a write that failed binds its process": {
			lives: [][]record{{unsure(1, 0, 10), got(0, 11, 12)}},
			want:  counts{own: 1},
		},
		"own write missed": {
			lives: [][]record{{wrote(1, 0, 10), got(0, 11, 12)}},
			want:  counts{stale: 1, own: 1},
		},
		"another life of the process has not written it": {
			lives: [][]record{{wrote(1, 0, 10)}, {got(0, 11, 12)}},
			want:  counts{stale: 1},
		},
		"back in time": {
			lives: [][]record{{got(2, 0, 10), got(1, 11, 12)}},
			want:  counts{back: 1},
		},
		"reads that overlap have no order": {
			lives: [][]record{{got(2, 0, 10), got(1, 9, 12)}},
		},
		"another process may be behind": {
			lives: [][]record{{got(2, 0, 10)}, {got(1, 11, 12)}},
		},
		"back in time after a long read": {
			lives: [][]record{{got(3, 0, 100), got(2, 5, 6), got(2, 50, 51), got(1, 60, 61), got(2, 101, 102)}},
			want:  counts{back: 2},
		},
		"stale at rest": {
			lives: [][]record{{wrote(1, 0, 10)}, {rested(0, 50)}},
			want:  counts{stale: 1, rest: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := check(history{lives: c.lives}, bound)
			assert.Equal(t, c.want, counts{len(v.stale), v.late, v.back, v.ownMisses, v.staleRest})
			assert.Equal(t, c.want.late+c.want.back+c.want.own+c.want.rest, v.violations())
		})
	}
}

// TestCheck_Losses: what the shared tier lost excuses reads that miss nothing
// else, for as long as the bound.
func TestCheck_Losses(t *testing.T) {
	const bound = 1000 * time.Millisecond
	death := []loss{{
		died: 100 * ms, back: 150 * ms, kept: []moment{50 * ms}, partition: func(uint32) int { return 0 },
	}}
	type counts struct{ late, back, own, lost, excused int }
	for name, c := range map[string]struct {
		lives [][]record
		want  counts
	}{
		"own write missed": {
			lives: [][]record{{wrote(1, 60, 61), got(0, 160, 161)}},
			want:  counts{lost: 1, excused: 1},
		},
		"own write of unknown outcome missed": {
			lives: [][]record{{unsure(1, 60, 61), got(0, 160, 161)}},
			want:  counts{excused: 1},
		},
		"own write missed for too long": {
			lives: [][]record{{wrote(1, 60, 61), got(0, 1151, 1152)}},
			want:  counts{late: 1, own: 1, lost: 1},
		},
		"own write missed before the loss": {
			lives: [][]record{{wrote(1, 60, 61), got(0, 70, 71)}},
			want:  counts{own: 1, lost: 1},
		},
		"another own write missed, which was kept": {
			lives: [][]record{{wrote(1, 10, 11), wrote(2, 60, 61), got(0, 160, 161)}},
			want:  counts{own: 1, lost: 1},
		},
		"own write after the loss missed": {
			lives: [][]record{{wrote(1, 101, 102), got(0, 160, 161)}},
			want:  counts{own: 1},
		},
		"late": {
			lives: [][]record{{wrote(1, 60, 61)}, {got(0, 1100, 1101)}},
			want:  counts{lost: 1, excused: 1},
		},
		"late behind a kept write": {
			lives: [][]record{{wrote(1, 10, 11), wrote(2, 60, 61)}, {got(0, 1100, 1101)}},
			want:  counts{late: 1, lost: 1},
		},
		"back in time": {
			lives: [][]record{{wrote(1, 60, 61)}, {got(1, 70, 71), got(0, 160, 161)}},
			want:  counts{lost: 1, excused: 1},
		},
		"back in time behind a kept write": {
			lives: [][]record{{wrote(1, 10, 11), wrote(2, 60, 61)}, {got(2, 70, 71), got(0, 160, 161)}},
			want:  counts{back: 1, lost: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := check(history{lives: c.lives, losses: death}, bound)
			assert.Equal(t, c.want, counts{v.late, v.back, v.ownMisses, v.lost, v.excused})
		})
	}
}

func TestCheck_KeysAreApart(t *testing.T) {
	other := got(0, 500, 501)
	other.key = 2
	v := check(history{lives: [][]record{{wrote(1, 0, 10), got(1, 11, 12), other}}}, 0)
	assert.Zero(t, v.violations())
}

func TestCheck_Recovery(t *testing.T) {
	lives := [][]record{{wrote(1, 0, 10)}, {
		got(0, 300, 301), // while the fault is there
		got(0, 700, 701), // 200 ms after its end
		got(1, 800, 801),
	}}
	v := check(history{lives: lives, faults: []span{{20 * ms, 500 * ms}}}, time.Second)
	assert.Equal(t, 200*time.Millisecond, v.recovery)
	assert.Equal(t, 690*time.Millisecond, v.stale[len(v.stale)-1])
}

func TestVerdict_Quantile(t *testing.T) {
	v := verdict{reads: 100, stale: []time.Duration{3, 5}}
	assert.Zero(t, v.quantile(0.5))
	assert.Zero(t, v.quantile(0.98))
	assert.Equal(t, time.Duration(3), v.quantile(0.99))
	assert.Equal(t, time.Duration(5), v.quantile(1))
	empty := verdict{}
	assert.Zero(t, empty.quantile(0.5))
}

func TestRecord_IsReadAsWritten(t *testing.T) {
	r := record{kind: gaveUp, key: 7, version: -3, start: 5, end: 1 << 60}
	b := r.append(nil)
	assert.Len(t, b, recordSize)
	assert.Equal(t, r, parseRecord(b))
}
