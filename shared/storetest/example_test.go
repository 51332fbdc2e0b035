package storetest_test

import (
	"context"
	"testing"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/memstore"
	"github.com/nearbus/nearbus/shared/storetest"
)

// The whole test of a driver's core: a function TestConformance(t *testing.T).
func ExampleRun() {
	conformance := func(t *testing.T) {
		storetest.Run(t, storetest.Harness{
			New: func() (driver.Store, error) { return memstore.New(memstore.Options{}), nil },
			Plant: func(_ context.Context, store driver.Store, key string, data []byte) error {
				store.(*memstore.Store).Plant(key, data)
				return nil
			},
		}, true)
	}
	_ = conformance
}
