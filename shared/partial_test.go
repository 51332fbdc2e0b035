package shared_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/driver"
)

// partly is a store that fails for some keys.
type partly struct {
	*server
	errs []error
}

func (p partly) Read(ctx context.Context, keys []string) ([][]byte, error) {
	images, err := p.server.Read(ctx, keys)
	return images, errors.Join(err, driver.Partial(p.errs))
}

func TestRead_SomeServersDown(t *testing.T) {
	down := errors.New("connection refused")
	server := newServer()
	tier := newTier(t, partly{server, []error{nil, down, nil}}, shared.Options{})
	require.NoError(t, tier.Write(t.Context(), []shared.Put{put("a")})[0].Err)
	found, err := tier.Read(t.Context(), []string{"a", "b", "none"})
	require.NoError(t, err)
	assert.Equal(t, "value of a", string(found[0].Value))
	require.ErrorIs(t, found[1].Err, shared.ErrUnread)
	require.ErrorIs(t, found[1].Err, down)
	require.NotErrorIs(t, found[1].Err, shared.ErrNotFound)
	require.ErrorIs(t, found[2].Err, shared.ErrNotFound)

	_, err = tier.Read(t.Context(), []string{"a", "b"})
	require.ErrorIs(t, err, down, "an error that is not one for each key is that of all")
}

func TestPartial(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	require.NoError(t, driver.Partial(nil))
	require.NoError(t, driver.Partial([]error{nil, nil}))
	assert.Equal(t, first, driver.Partial([]error{first, second}), "nothing was read")
	err := driver.Partial([]error{nil, first, second})
	require.EqualError(t, err, "shared: 2 of 3 keys not read: first")
	require.ErrorIs(t, err, second)
	require.EqualError(t, &driver.PartialError{}, "shared: 0 keys not read")
}
