package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func nothing(start, end int64) record {
	return record{kind: read, key: 1, absent: true, start: start * ms, end: end * ms}
}

func flagged(version, start, end int64) record {
	r := got(version, start, end)
	r.stale = true
	return r
}

// TestCheck_Features: that there is no value is an answer that is as old as the
// latest deletion that it can stand for, and a flagged one is bound by nothing but
// that it does not go back.
func TestCheck_Features(t *testing.T) {
	const bound = 100 * time.Millisecond
	assert.True(t, absentAt(1, 3) && absentAt(1, 7) && !absentAt(1, 4) && !absentAt(2, 3))
	type counts struct{ late, back, own, absent, flagged int }
	for name, c := range map[string]struct {
		lives  [][]record
		latest []int64
		want   counts
	}{
		"the deletion": {
			lives: [][]record{{wrote(3, 0, 10), nothing(20, 21)}},
			want:  counts{absent: 1},
		},
		"a deletion that is not acknowledged yet": {
			lives: [][]record{{wrote(3, 20, 500)}, {nothing(20, 21)}},
			want:  counts{absent: 1},
		},
		"missed a value": {
			lives: [][]record{{wrote(3, 0, 10), wrote(4, 20, 30)}, {nothing(131, 132)}},
			want:  counts{late: 1, absent: 1},
		},
		"may stand for the deletion that came after the value": {
			lives: [][]record{{wrote(3, 0, 10), wrote(4, 20, 30), wrote(7, 130, 400)}, {nothing(131, 132)}},
			want:  counts{absent: 1},
		},
		"cannot stand for a deletion that came later": {
			lives: [][]record{{wrote(3, 0, 10), wrote(4, 20, 30), wrote(7, 140, 400)}, {nothing(131, 132)}},
			want:  counts{late: 1, absent: 1},
		},
		"may stand for a deletion of a process that died of it": {
			lives:  [][]record{{wrote(6, 20, 30)}, {nothing(131, 132)}},
			latest: []int64{0, 7},
			want:   counts{absent: 1},
		},
		"cannot stand for a deletion that never was": {
			lives:  [][]record{{wrote(6, 20, 30)}, {nothing(131, 132)}},
			latest: []int64{0, 6},
			want:   counts{late: 1, absent: 1},
		},
		"own value missed": {
			lives: [][]record{{wrote(3, 0, 10), wrote(4, 20, 30), nothing(31, 32)}},
			want:  counts{own: 1, absent: 1},
		},
		"own deletion missed": {
			lives: [][]record{{wrote(3, 0, 10), got(2, 11, 12)}},
			want:  counts{own: 1},
		},
		"back to nothing": {
			lives: [][]record{{unsure(3, 0, 10)}, {got(4, 20, 30), nothing(31, 32)}},
			want:  counts{back: 1, absent: 1},
		},
		"from nothing to a value is no way back": {
			lives: [][]record{{unsure(7, 0, 10)}, {nothing(20, 21), got(6, 22, 23)}},
			want:  counts{absent: 1},
		},
		"flagged": {
			lives: [][]record{{wrote(1, 0, 10), flagged(0, 500, 501)}},
			want:  counts{flagged: 1},
		},
		"flagged, and back": {
			lives: [][]record{{got(2, 0, 10), flagged(1, 500, 501)}},
			want:  counts{back: 1, flagged: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := check(history{lives: c.lives, latest: c.latest}, bound)
			assert.Equal(t, c.want, counts{v.late, v.back, v.ownMisses, v.absent, v.flagged})
		})
	}
}

func TestRecord_KeepsItsFlags(t *testing.T) {
	for _, r := range []record{
		{kind: atRest, key: 7, absent: true}, {kind: read, key: 7, stale: true}, {kind: acked, absent: true, stale: true},
	} {
		assert.Equal(t, r, parseRecord(r.append(nil)))
	}
}
