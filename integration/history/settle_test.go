package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func nothing(start, end int64) Record {
	return Record{Kind: Read, Key: 1, Absent: true, Start: start * ms, End: end * ms}
}

// absentAt: one version in four says that there is no value.
func absentAt(_ uint32, version int64) bool { return version%4 == 3 }

func flagged(version, start, end int64) Record {
	r := got(version, start, end)
	r.Stale = true
	return r
}

// TestCheck_Features: that there is no value is an answer that is as old as the
// latest deletion that it can stand for, and a flagged one is bound by nothing but
// that it does not go back.
func TestCheck_Features(t *testing.T) {
	const bound = 100 * time.Millisecond
	type counts struct{ late, back, own, absent, flagged int }
	for name, c := range map[string]struct {
		lives  [][]Record
		latest []int64
		want   counts
	}{
		"the deletion": {
			lives: [][]Record{{wrote(3, 0, 10), nothing(20, 21)}},
			want:  counts{absent: 1},
		},
		"a deletion that is not acknowledged yet": {
			lives: [][]Record{{wrote(3, 20, 500)}, {nothing(20, 21)}},
			want:  counts{absent: 1},
		},
		"missed a value": {
			lives: [][]Record{{wrote(3, 0, 10), wrote(4, 20, 30)}, {nothing(131, 132)}},
			want:  counts{late: 1, absent: 1},
		},
		"may stand for the deletion that came after the value": {
			lives: [][]Record{{wrote(3, 0, 10), wrote(4, 20, 30), wrote(7, 130, 400)}, {nothing(131, 132)}},
			want:  counts{absent: 1},
		},
		"cannot stand for a deletion that came later": {
			lives: [][]Record{{wrote(3, 0, 10), wrote(4, 20, 30), wrote(7, 140, 400)}, {nothing(131, 132)}},
			want:  counts{late: 1, absent: 1},
		},
		"may stand for a deletion of a process that died of it": {
			lives:  [][]Record{{wrote(6, 20, 30)}, {nothing(131, 132)}},
			latest: []int64{0, 7},
			want:   counts{absent: 1},
		},
		"cannot stand for a deletion that never was": {
			lives:  [][]Record{{wrote(6, 20, 30)}, {nothing(131, 132)}},
			latest: []int64{0, 6},
			want:   counts{late: 1, absent: 1},
		},
		"own value missed": {
			lives: [][]Record{{wrote(3, 0, 10), wrote(4, 20, 30), nothing(31, 32)}},
			want:  counts{own: 1, absent: 1},
		},
		"own deletion missed": {
			lives: [][]Record{{wrote(3, 0, 10), got(2, 11, 12)}},
			want:  counts{own: 1},
		},
		"back to nothing": {
			lives: [][]Record{{unsure(3, 0, 10)}, {got(4, 20, 30), nothing(31, 32)}},
			want:  counts{back: 1, absent: 1},
		},
		"from nothing to a value is no way back": {
			lives: [][]Record{{unsure(7, 0, 10)}, {nothing(20, 21), got(6, 22, 23)}},
			want:  counts{absent: 1},
		},
		"flagged": {
			lives: [][]Record{{wrote(1, 0, 10), flagged(0, 500, 501)}},
			want:  counts{flagged: 1},
		},
		"flagged, and back": {
			lives: [][]Record{{got(2, 0, 10), flagged(1, 500, 501)}},
			want:  counts{back: 1, flagged: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := (&History{Lives: c.lives, Latest: c.latest, AbsentAt: absentAt}).Check(Always(bound))
			assert.Equal(t, c.want, counts{v.Late, v.Back, v.OwnMisses, v.Absent, v.Flagged})
		})
	}
}
