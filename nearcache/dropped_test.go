package nearcache_test

import (
	"math/big"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/cborcodec"
	"github.com/nearbus/nearbus/shared/protocodec"
)

type owner struct {
	Name  string
	cache int
	Rates map[string]big.Rat // their methods have pointer receivers
}

type account struct {
	sync.Mutex
	Owners []*owner
	Secret string `json:"-"`
	Other  string `json:"x" cbor:"-"`
	Notify func() `json:"-"`
	Rate   *big.Rat
	_      int
	next   *account
}

// TestNew_WarnsOfDroppedFields: what the loading node alone would have is told when the
// cache is made, by the rules of its codec.
func TestNew_WarnsOfDroppedFields(t *testing.T) {
	_ = account{next: &account{}, Owners: []*owner{{cache: 1}}}
	for want, codec := range map[string]shared.Codec{
		`codec=1 fields="Owners[].cache, Owners[].Rates[].a, Owners[].Rates[].b, Secret, Notify, next"`: nil,
		`codec=2 fields="Owners[].cache, Notify, next"`:                                                 shared.Gob,
		`codec=3 fields="Owners[].cache, Secret, Other, Notify, next"`:                                  cborcodec.New(),
	} {
		bubble(t, func(t *testing.T, f *fleet) {
			lines := f.log()
			node := f.join().node
			_, err := nearcache.New(node, "accounts", nearcache.Options[*account]{Codec: codec})
			require.NoError(t, err)
			got := lines()
			require.Len(t, got, 1, got)
			assert.Contains(t, got[0], `level=WARN msg="nearcache: the codec does not store all fields of the type: `+
				`other nodes get values without them" cache=accounts type=*nearcache_test.account `+want)
		})
	}
}

func TestNew_RefusesWhatACodecCannotKeep(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		node := f.join().node
		_, err := nearcache.New(node, "any", nearcache.Options[any]{Codec: shared.Gob})
		require.EqualError(t, err, "nearcache: Options.Codec: shared: Gob: interface {} is an interface: nothing says of which type a value was")
		_, err = nearcache.New(node, "raw", nearcache.Options[int]{Codec: shared.Raw})
		require.EqualError(t, err, "nearcache: Options.Codec: shared: Raw: int is neither bytes nor a string")
		_, err = nearcache.New(node, "proto", nearcache.Options[account]{Codec: protocodec.New()})
		require.ErrorContains(t, err, "nearcache: Options.Codec: protocodec: nearcache_test.account is no pointer to a generated message")
		_, err = nearcache.New(node, "raw", nearcache.Options[[]byte]{Codec: shared.Raw})
		require.NoError(t, err, "the name is free")
	})
}

// TestCodec_EverybodyAnswersAlike: a value comes back to other nodes as it went in, also
// where its methods have pointer receivers.
func TestCodec_EverybodyAnswersAlike(t *testing.T) {
	for _, codec := range []shared.Codec{shared.JSON, shared.Gob, cborcodec.New()} {
		bubble(t, func(t *testing.T, f *fleet) {
			opts := nearcache.Options[big.Rat]{Codec: codec}
			here, err := nearcache.New(f.join().node, "rates", opts)
			require.NoError(t, err)
			there, err := nearcache.New(f.join().node, "rates", opts)
			require.NoError(t, err)
			require.NoError(t, here.Set(t.Context(), "k", *big.NewRat(1, 3)))
			got, err := there.Get(t.Context(), "k")
			require.NoError(t, err)
			assert.Equal(t, "1/3", got.String())
		})
	}
}
