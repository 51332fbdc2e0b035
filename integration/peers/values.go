package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
)

// user is what services cache: a struct of six fields.
type user struct {
	ID      int64
	Name    string
	Email   string
	Country string
	Active  bool
	Balance float64
}

var (
	someUser  = user{42, "Ada Lovelace", "ada@example.org", "GB", true, 12.5}
	someBytes = func() []byte {
		b := make([]byte, 256)
		for i := range b {
			b[i] = byte(i)
		}
		b[0] = 42
		return b
	}()
)

var encodedUser = value(json.Marshal(someUser))

func isUser(u user) bool    { return u.ID == 42 }
func isBytes(b []byte) bool { return b[0] == 42 }

var errWrong = errors.New("wrong answer")

const keySpace = 100_000

// keys are of 16 bytes.
var keys = func() []string {
	all := make([]string, keySpace)
	for i := range all {
		all[i] = fmt.Sprintf("user:%011d", i)
	}
	return all
}()

// order is the order in which keys are asked for; its length is a power of two.
type order []uint32

// key returns the i-th key that a worker asks for. Workers begin at different
// places.
func (o order) key(worker, i int) string {
	return keys[o[(worker*7919+i)&(len(o)-1)]]
}

func hot() order { return order{4711} }

// zipf asks for keys as users do: some much more often than others.
func zipf() order {
	z := rand.NewZipf(rand.New(rand.NewSource(1)), 1.01, 1, keySpace-1)
	places := rand.New(rand.NewSource(2)).Perm(keySpace) // the popular ones are not neighbours
	o := make(order, 1<<16)
	for i := range o {
		o[i] = uint32(places[z.Uint64()])
	}
	return o
}
