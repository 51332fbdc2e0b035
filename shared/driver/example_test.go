package driver_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/shared/driver"
)

// A store stamps the image of a record when it writes it, and hands the image back as it is.
func ExampleStamp() {
	record := driver.Record{Kind: driver.KindValue, Nonce: driver.NewNonce(), Value: []byte("Ada")}
	image := record.Append(nil)
	now := time.UnixMilli(1_700_000_000_000)
	driver.Stamp(image, driver.Revision{Epoch: 1, Number: 7}, now, time.Minute, time.Hour)

	read, err := driver.DecodeRecord(image)
	fmt.Printf("%s, revision %d, ends in %v, %v\n",
		read.Value, read.Revision.Number, time.UnixMilli(read.Soft).Sub(now), err)
	// Output: Ada, revision 7, ends in 1m0s, <nil>
}

// What a store holds is a Record: a header, and then the value.
func ExampleDecodeRecord() {
	record := driver.Record{Kind: driver.KindValue, Nonce: 1, Value: []byte("Ada")}
	image := record.Append(nil)
	fmt.Println(len(image) == driver.HeaderSize+3)

	decoded, err := driver.DecodeRecord(image)
	fmt.Printf("%s %v\n", decoded.Value, err)

	_, err = driver.DecodeRecord(image[:len(image)-1])
	fmt.Println(errors.Is(err, driver.ErrCorrupt), err)
	// Output:
	// true
	// Ada <nil>
	// true shared: corrupt record: 2 bytes of 3
}
