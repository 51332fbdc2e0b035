package nearcachetest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/protocodec"
)

// TestRoundTrip_SaysWhere: what is lost is named, by its path and what came back.
func TestRoundTrip_SaysWhere(t *testing.T) {
	check := func(want string, run func(testing.TB)) {
		t.Helper()
		l := &listener{TB: t}
		run(l)
		if want == "" {
			assert.Empty(t, l.said)
			return
		}
		assert.Equal(t, []string{"nearcachetest: " + want}, l.said)
	}
	type inner struct{ V any }
	type outer struct {
		In map[string][]inner
		At time.Time
	}
	check("", func(t testing.TB) { nearcachetest.RoundTrip(t, nil, 1, 2) })
	check("", func(t testing.TB) { nearcachetest.RoundTrip(t, nil, outer{At: time.Now()}) }) // with a monotonic clock
	check("value 2 of 2: In[k][1].V: int 1 went in, float64 1 came back", func(t testing.TB) {
		nearcachetest.RoundTrip(t, nil, outer{}, outer{In: map[string][]inner{"k": {{}, {1}}}})
	})
	check("value 1 of 1: s: string b went in, string  came back", func(t testing.TB) {
		nearcachetest.RoundTrip(t, nil, hidden{"a", "b"})
	})
	check("value 1 of 1: L: []int [] went in, a nil []int came back", func(t testing.TB) {
		nearcachetest.RoundTrip(t, shared.Gob, emptySlice{[]int{}})
	})
	check("", func(t testing.TB) { nearcachetest.RoundTrip(t, protocodec.New(), durationpb.New(time.Second)) })
	check("value 1 of 1: marshal chan int: json: unsupported type: chan int", func(t testing.TB) {
		nearcachetest.RoundTrip(t, nil, make(chan int))
	})
	check("value 1 of 1: unmarshal int: no", func(t testing.TB) { nearcachetest.RoundTrip(t, deaf{shared.JSON}, 1) })
}

// deaf is a codec that reads nothing.
type deaf struct{ shared.Codec }

func (deaf) Unmarshal([]byte, any) error { return errors.New("no") }
