package shared_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// halves is a compressor that "packs" two equal halves into one.
type halves struct {
	id           uint8
	err          error
	panics, lies bool
	compressed   int
}

func (c *halves) ID() uint8 {
	if c.id == 0 {
		return driver.CompressionOwn
	}
	return c.id
}

func (c *halves) Compress(data []byte) ([]byte, error) {
	c.compressed++
	if c.panics {
		panic("compressor")
	}
	half := len(data) / 2
	if !bytes.Equal(data[:half], data[half:]) {
		return append(bytes.Clone(data), 0), c.err
	}
	return bytes.Clone(data[:half]), c.err
}

func (c *halves) Decompress(_ uint8, data []byte, limit int) ([]byte, error) {
	switch {
	case c.panics:
		panic("compressor")
	case 2*len(data) > limit && !c.lies:
		return nil, errors.New("too large")
	}
	return append(bytes.Clone(data), data...), c.err
}

// twice returns n bytes that halves can pack.
func twice(n int) []byte { return bytes.Repeat([]byte("v"), n) }

func TestCompress_Threshold(t *testing.T) {
	for name, c := range map[string]struct {
		opts   shared.Options
		value  []byte
		stored int
	}{
		"below the default":    {shared.Options{}, twice(1022), 1022},
		"the default":          {shared.Options{}, twice(1024), 512},
		"below what was given": {shared.Options{CompressOver: 100}, twice(98), 98},
		"what was given":       {shared.Options{CompressOver: 100}, twice(100), 50},
		"it would be longer":   {shared.Options{CompressOver: 2}, []byte("ab"), 2},
		"only read":            {shared.Options{CompressOver: math.MaxInt}, twice(1 << 20), 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer()
			c.opts.Compress = &halves{}
			tier := newTier(t, server, c.opts)
			value := bytes.Clone(c.value)
			require.NoError(t, tier.Set(t.Context(), "key", value, 0))
			r, err := driver.DecodeRecord(server.writes[0].Image)
			require.NoError(t, err)
			assert.Len(t, r.Value, c.stored)
			assert.Equal(t, c.stored < len(c.value), r.Compression == driver.CompressionOwn)
			assert.Equal(t, c.value, value, "the caller's bytes are as they were")
			got, err := tier.Get(t.Context(), "key")
			require.NoError(t, err)
			assert.Equal(t, c.value, got)
			found, err := tier.Read(t.Context(), []string{"key"})
			require.NoError(t, err)
			assert.Zero(t, found[0].Compression)
		})
	}
}

// TestCompress_Unknown: what a tier cannot read is a miss, counted, and a lease
// may replace it.
func TestCompress_Unknown(t *testing.T) {
	for name, c := range map[string]shared.Compressor{
		"none": nil, "fails": &halves{err: errors.New("no")}, "panics": &halves{panics: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer()
			require.NoError(t, newTier(t, server, shared.Options{Compress: &halves{}}).Set(t.Context(), "key", twice(2000), 0))
			tier := newTier(t, server, shared.Options{Compress: c})
			_, err := tier.Get(t.Context(), "key")
			require.ErrorIs(t, err, shared.ErrNotFound)
			assert.EqualValues(t, 1, tier.Stats().Undecodable)
			found, err := tier.Read(t.Context(), []string{"key"})
			require.NoError(t, err)
			require.ErrorIs(t, found[0].Err, driver.ErrCorrupt)
			got := tier.Acquire(t.Context(), []shared.Claim{{Key: "key", Token: 1, Discard: found[0].Header}})[0]
			require.NoError(t, got.Err)
			assert.Equal(t, driver.LeaseGranted, got.Status)
		})
	}
}

func TestCompress_CompressorThatFails(t *testing.T) {
	for name, c := range map[string]*halves{"with an error": {err: errors.New("no")}, "with a panic": {panics: true}} {
		t.Run(name, func(t *testing.T) {
			server := newServer()
			tier := newTier(t, server, shared.Options{Compress: c})
			require.ErrorContains(t, tier.Set(t.Context(), "key", twice(2000), 0), `"key": shared: compress 2000 bytes: `)
			assert.Empty(t, server.calls, "nothing was sent")
			require.NoError(t, tier.Set(t.Context(), "key", twice(20), 0))
		})
	}
}

// TestCompress_Limits: that of the tier is for the value, that of the store for
// what is stored.
func TestCompress_Limits(t *testing.T) {
	server := newServer()
	server.maxImage = driver.HeaderSize + 1000
	tier := newTier(t, server, shared.Options{Compress: &halves{}, CompressOver: 500, MaxValue: 4000})
	assert.Equal(t, 4000, tier.MaxValue())
	assert.Equal(t, 1000, newTier(t, server, shared.Options{MaxValue: 4000}).MaxValue())
	noise := []byte(strings.Repeat("a", 600) + strings.Repeat("b", 600))
	for name, c := range map[string]struct {
		value []byte
		want  string // part of the error; empty: none
	}{
		"fits":                          {twice(2000), ""},
		"just too large for the store":  {twice(2002), "1001 bytes compressed, more than 1000"},
		"cannot be compressed":          {noise, "1200 bytes compressed, more than 1000"},
		"too large for the tier":        {twice(4002), "4002 bytes, more than 4000"},
		"small enough without anything": {noise[:1000], ""},
	} {
		err := tier.Set(t.Context(), "key", c.value, 0)
		fits := tier.Fits(&driver.Record{Kind: driver.KindValue, Value: c.value})
		if c.want == "" {
			require.NoError(t, err, name)
			require.NoError(t, fits, name)
			continue
		}
		for _, err := range []error{err, fits} {
			require.ErrorIs(t, err, shared.ErrTooLarge, name)
			assert.ErrorContains(t, err, c.want, name)
		}
	}
}

// TestMaxValue_WhenRead: what is stored by others is bounded as well, whether or
// not it is compressed, and whatever the compressor says.
func TestMaxValue_WhenRead(t *testing.T) {
	for name, r := range map[string]driver.Record{
		"plain":      {Value: twice(1001)},
		"compressed": {Value: twice(501), Compression: driver.CompressionOwn},
	} {
		for _, c := range []*halves{{}, {lies: true}} {
			server := newServer()
			tier := newTier(t, server, shared.Options{MaxValue: 1000, Compress: c})
			r.Kind, r.Nonce = driver.KindValue, 1
			server.planted["key"] = r.Append(nil)
			_, err := tier.Get(t.Context(), "key")
			require.ErrorIs(t, err, shared.ErrNotFound, name)
			assert.EqualValues(t, 1, tier.Stats().Undecodable, name)
			r.Value = r.Value[1:]
			server.planted["key"] = r.Append(nil)
			_, err = tier.Get(t.Context(), "key")
			require.NoError(t, err, name)
			r.Value = append(r.Value, 'v')
		}
	}
}

func TestCompress_OptionsRefused(t *testing.T) {
	for want, opts := range map[string]shared.Options{
		"shared: Options.CompressOver is negative: -1":                                                      {Compress: &halves{}, CompressOver: -1},
		"shared: Options.CompressOver is 5, but there is no Options.Compress":                               {CompressOver: 5},
		"shared: Options.Compress is a nil *shared_test.halves":                                             {Compress: (*halves)(nil)},
		"shared: Options.Compress has the ID 4, not 1 to 3":                                                 {Compress: &halves{id: 4}},
		"shared: Options.Compress: panic: runtime error: invalid memory address or nil pointer dereference": {Compress: struct{ shared.Compressor }{}},
	} {
		_, err := shared.New(newServer(), opts)
		require.EqualError(t, err, want)
	}
}
