package shared_test

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
)

func TestRaw_Aliases(t *testing.T) {
	type text string
	type blob []byte
	raw := shared.Raw.(shared.Aliaser)
	for _, v := range []any{[]byte("Ada"), "Ada", text("Ada"), blob("Ada")} {
		data, err := raw.MarshalAlias(v)
		require.NoError(t, err)
		assert.Equal(t, "Ada", string(data), "%T", v)
	}
	value := []byte("Ada")
	data, err := raw.MarshalAlias(value)
	require.NoError(t, err)
	assert.Same(t, unsafe.SliceData(value), unsafe.SliceData(data))

	read := []byte("Ada, and more")
	data = read[:3]
	var b []byte
	var s string
	var nb blob
	var ns text
	for _, v := range []any{&b, &s, &nb, &ns} {
		require.NoError(t, raw.UnmarshalAlias(data, v))
	}
	for _, at := range []*byte{unsafe.SliceData(b), unsafe.StringData(s), unsafe.SliceData(nb), unsafe.StringData(string(ns))} {
		assert.Same(t, unsafe.SliceData(read), at)
	}
	_ = append(b, '!')
	_ = append(nb, '!')
	assert.Equal(t, "Ada, and more", string(read), "what is appended to a value goes elsewhere")

	for _, v := range []any{nil, 1, "", new(int), (*int)(nil), new([]string)} {
		require.Equal(t, shared.Raw.Unmarshal(data, v), raw.UnmarshalAlias(data, v), "%T", v)
	}
	for _, v := range []any{nil, 1, []string{}} {
		_, want := shared.Raw.Marshal(v)
		require.Error(t, want)
		_, err := raw.MarshalAlias(v)
		require.Equal(t, want, err, "%T", v)
	}
}
