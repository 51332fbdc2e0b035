package protocodec_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/protocodec"
)

// TestCodec_Golden: what one version stores, the next must read. A change here
// needs another codec ID.
func TestCodec_Golden(t *testing.T) {
	codec := protocodec.New()
	assert.Equal(t, shared.CodecProto, codec.ID())
	assert.EqualValues(t, 4, codec.ID())
	data, err := codec.Marshal(&durationpb.Duration{Seconds: 3, Nanos: 4})
	require.NoError(t, err)
	assert.Equal(t, "08031004", hex.EncodeToString(data))
}

func TestCodec_RoundTrip(t *testing.T) {
	codec := protocodec.New()
	want, err := structpb.NewStruct(map[string]any{"name": "Ada", "tags": []any{"math", 1.5}})
	require.NoError(t, err)
	data, err := codec.Marshal(want)
	require.NoError(t, err)
	var got *structpb.Struct
	require.NoError(t, codec.Unmarshal(data, &got))
	assert.True(t, proto.Equal(want, got), got)
	require.NoError(t, codec.Unmarshal(nil, &got), "an empty message has no bytes")
	assert.Empty(t, got.GetFields())
}

func TestCodec_Refuses(t *testing.T) {
	codec := protocodec.New()
	for _, v := range []any{nil, 1, (*durationpb.Duration)(nil)} {
		_, err := codec.Marshal(v)
		require.Error(t, err, "%T", v)
	}
	var message *durationpb.Duration
	for _, v := range []any{nil, 1, message, &durationpb.Duration{}, new(int), new(*int), (**durationpb.Duration)(nil)} {
		require.Error(t, codec.Unmarshal([]byte{8, 3}, v), "%T", v)
	}
	require.Error(t, codec.Unmarshal([]byte{8}, &message))
	assert.Nil(t, message, "what was read of it is not left")
}

// TestCodec_ReadsWhatItWrites: what is nested too deep to be read is not written.
func TestCodec_ReadsWhatItWrites(t *testing.T) {
	codec := protocodec.New()
	nested := func(levels int) *structpb.Value {
		v := structpb.NewNullValue()
		for range levels {
			v = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{v}})
		}
		return v
	}
	data, err := codec.Marshal(nested(4000)) // two messages each
	require.NoError(t, err)
	var got *structpb.Value
	require.NoError(t, codec.Unmarshal(data, &got))
	_, err = codec.Marshal(nested(6000))
	require.ErrorContains(t, err, "protocodec: what is written of a *structpb.Value cannot be read back")
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte{8, 3, 16, 4})
	f.Add([]byte("\n\x0b\n\x04name\x12\x03\x1a\x01A"))
	codec := protocodec.New()
	f.Fuzz(func(t *testing.T, data []byte) {
		var s *structpb.Struct
		if codec.Unmarshal(data, &s) == nil {
			_, err := codec.Marshal(s)
			require.NoError(t, err)
		}
		var d *durationpb.Duration
		_ = codec.Unmarshal(data, &d) // may fail, must not panic
	})
}
