package nearcachetest_test

import (
	"encoding/gob"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache/nearcachetest"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/cborcodec"
)

// What becomes of a value.
const (
	kept    = "yes"
	changed = "no"
	refused = "error" // when it is written
)

// listener is a test that notes what RoundTrip reports.
type listener struct {
	testing.TB
	said []string
}

func (*listener) Helper() {}
func (l *listener) Errorf(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

// becomes returns what becomes of v, by RoundTrip.
func becomes[V any](v V) func(*testing.T, shared.Codec) string {
	return func(t *testing.T, codec shared.Codec) string {
		l := &listener{TB: t}
		nearcachetest.RoundTrip(l, codec, v)
		said := strings.Join(l.said, "")
		require.NotContains(t, said, ": unmarshal ", "what a codec writes it can read")
		switch {
		case said == "":
			return kept
		case strings.Contains(said, ": marshal "):
			return refused
		}
		return changed
	}
}

type plain struct {
	I  int64
	F  float64
	S  string
	B  []byte
	T  time.Time
	D  time.Duration
	L  []plain
	M  map[string]plain
	P  *plain
	IP netip.Addr
	A  [2]bool
}

var somePlain = plain{
	I: math.MinInt64, F: 0.1, S: "Käse", B: []byte{0, 255}, T: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)),
	D: time.Hour, L: []plain{{S: "a"}}, M: map[string]plain{"k": {S: "b"}}, P: &plain{I: 1}, IP: netip.MustParseAddr("::1"), A: [2]bool{true},
}

// Types with a form of their own.
type (
	onlyText   struct{ s string }
	onlyBinary struct{ s string }
	onlyJSON   struct{ s string }
)

func (v *onlyText) MarshalText() ([]byte, error)     { return []byte("t" + v.s), nil }
func (v *onlyText) UnmarshalText(text []byte) error  { v.s = string(text[1:]); return nil }
func (v *onlyBinary) MarshalBinary() ([]byte, error) { return []byte(v.s), nil }
func (v *onlyBinary) UnmarshalBinary(b []byte) error { v.s = string(b); return nil }
func (v *onlyJSON) MarshalJSON() ([]byte, error)     { return json.Marshal(v.s) }
func (v *onlyJSON) UnmarshalJSON(b []byte) error     { return json.Unmarshal(b, &v.s) }

// oneWay can be written and not be read.
type oneWay struct{ S string }

func (oneWay) MarshalText() ([]byte, error)   { return []byte("one way"), nil }
func (oneWay) MarshalBinary() ([]byte, error) { return []byte("one way"), nil }

type (
	hidden struct{ S, s string }
	tagged struct {
		S string `json:"-"`
	}
	withFun struct {
		S string
		F func()
	}
	zeroPointer struct{ P *int }
	emptySlice  struct{ L []int }
	anything    struct{ V any }
	deeper      struct{ Next *deeper }
)

var bigFloat, _, _ = big.ParseFloat("0.1", 10, 64, big.ToNearestEven)

func nested(levels int) *deeper {
	d := &deeper{}
	for range levels {
		d = &deeper{Next: d}
	}
	return d
}

// values are the rows of the table in docs/values.md: what becomes of them, by codec.
var values = []struct {
	name   string
	values []func(*testing.T, shared.Codec) string
}{
	{"numbers, text in UTF-8, bytes, times, and structs, pointers, slices and maps of them", some(
		becomes(1), becomes("a"), becomes(somePlain), becomes(&somePlain), becomes([]plain{somePlain}), becomes(map[int]string{1: "a"}))},
	{"`big.Int`, `big.Rat` and `big.Float` of 64 bits", some(
		becomes(*big.NewInt(5)), becomes(big.NewInt(-1)), becomes(big.NewRat(1, 3)), becomes(*big.NewRat(1, 3)), becomes(*bigFloat),
		becomes([]big.Rat{*big.NewRat(1, 3)}), becomes(struct{ R big.Rat }{*big.NewRat(1, 3)}))},
	{"a struct whose only form is `MarshalText`, such as `regexp.Regexp`", some(
		becomes(regexp.MustCompile("^a")), becomes(onlyText{"a"}), becomes(&onlyText{"a"}), becomes(struct{ V onlyText }{onlyText{"a"}}))},
	{"one whose only form is `MarshalBinary`", some(becomes(onlyBinary{"a"}), becomes(&onlyBinary{"a"}))},
	{"one whose only form is `MarshalJSON`", some(becomes(&onlyJSON{"a"}), becomes(onlyJSON{"a"}))},
	{"a type with such a method and none to read it", some(becomes(oneWay{"a"}))},
	{"text that is not UTF-8", some(becomes("a\xff"), becomes(map[string]string{"k": "\xff"}))},
	{"numbers that are not finite", some(becomes(math.Inf(1)), becomes(math.NaN()))},
	{"a nil pointer for a value", some(becomes((*plain)(nil)))},
	{"a nil pointer in a slice", some(becomes([]*plain{nil}))},
	{"a pointer to a zero value, an empty slice that is not nil, in a field", some(
		becomes(zeroPointer{new(int)}), becomes(emptySlice{[]int{}}))},
	{"an `int64` in an `any`", some(becomes(anything{int64(1)}))},
	{"nil in an `any`", some(becomes(anything{}), becomes([]any{nil}), becomes(map[string]any{"k": nil}))},
	{"a struct in an `any`, registered with `gob.Register`", some(becomes(anything{plain{S: "a"}}))},
	{"fields that are not exported", some(becomes(hidden{"a", "b"}))},
	{"fields with the tag `json:\"-\"`", some(becomes(tagged{"a"}))},
	{"functions and channels in a field", some(becomes(withFun{"a", func() {}}))},
	{"10,000 levels of nesting", some(becomes(nested(10000 - 1)))},
	{"more", some(becomes(nested(10000)))},
}

func some(of ...func(*testing.T, shared.Codec) string) []func(*testing.T, shared.Codec) string {
	return of
}

// TestRoundTrip_Values holds the table of docs/values.md against the codecs: each row
// is what they do.
func TestRoundTrip_Values(t *testing.T) {
	gob.Register(plain{})
	page, err := os.ReadFile("../../docs/values.md")
	require.NoError(t, err)
	rows := "| value | JSON | CBOR | Gob |\n|---|---|---|---|\n"
	for _, v := range values {
		rows += "| " + v.name
		for _, codec := range []shared.Codec{shared.JSON, cborcodec.New(), shared.Gob} {
			rows += " | " + outcome(t, v.name, codec, v.values)
		}
		rows += " |\n"
	}
	assert.Contains(t, string(page), rows, "docs/values.md needs these rows:\n%s", rows)
}

func outcome(t *testing.T, name string, codec shared.Codec, values []func(*testing.T, shared.Codec) string) string {
	all := values[0](t, codec)
	for i, becomes := range values[1:] {
		assert.Equal(t, all, becomes(t, codec), "%s: value %d of codec %d", name, i+2, codec.ID())
	}
	return all
}

// TestRoundTrip_WhatJSONKeeps: what JSON keeps every codec keeps, or refuses when it is
// written, and nothing that can be written cannot be read. What a codec leaves out is
// named when a cache is made.
func TestRoundTrip_WhatJSONKeeps(t *testing.T) {
	gob.Register(plain{})
	exceptions := map[string]bool{
		"one whose only form is `MarshalJSON`, by 3":                                  true, // named: all of its fields
		"a pointer to a zero value, an empty slice that is not nil, in a field, by 2": true, // the format of gob
	}
	for _, v := range values {
		for _, codec := range []shared.Codec{cborcodec.New(), shared.Gob} {
			name := fmt.Sprintf("%s, by %d", v.name, codec.ID())
			for _, becomes := range v.values {
				if becomes(t, shared.JSON) == kept && becomes(t, codec) == changed {
					assert.True(t, exceptions[name], name)
				}
			}
		}
	}
}
