package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/cborcodec"
)

// With a Loader, Get reads through: near, else shared, else the source.
func ExampleCache_Get() {
	node := newNode()
	defer node.Close(context.Background())
	load := func(_ context.Context, id string) (User, error) {
		fmt.Println("asked the database for", id)
		return User{ID: id, Name: "Ada"}, nil
	}
	users, err := nearcache.New(node, "get", nearcache.Options[User]{Loader: nearcache.ValueLoader(load)})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		u, err := users.Get(context.Background(), "42")
		fmt.Println(u.Name, err)
	}
	// Output:
	// asked the database for 42
	// Ada <nil>
	// Ada <nil>
}

// With a BatchLoader, GetMany loads what is missing in one query.
func ExampleCache_GetMany() {
	node := newNode()
	defer node.Close(context.Background())
	load := func(_ context.Context, ids []string) (map[string]User, error) {
		fmt.Println("asked the database for", slices.Sorted(slices.Values(ids)))
		return map[string]User{"1": {"1", "Ada"}, "2": {"2", "Grace"}}, nil // there is no 3
	}
	users, err := nearcache.New(node, "getmany", nearcache.Options[User]{BatchLoader: nearcache.BatchValueLoader(load)})
	if err != nil {
		log.Fatal(err)
	}
	found, err := users.GetMany(context.Background(), []string{"1", "2", "3"})
	fmt.Println(found["1"].Name, found["2"].Name, len(found), err)
	// Output:
	// asked the database for [1 2 3]
	// Ada Grace 2 <nil>
}

// A query that fails for some keys returns the others beside a KeysError. These are stored, and
// each key has its own error.
func ExampleBatchLoader_someFail() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	load := func(_ context.Context, ids []string) (map[string]User, error) {
		users, failed := map[string]User{}, nearcache.KeysError{}
		for _, id := range ids {
			if id == "3" {
				failed[id] = errors.New("shard 3 is down")
			} else {
				users[id] = User{id, "Ada"}
			}
		}
		if len(failed) > 0 {
			return users, failed
		}
		return users, nil
	}
	users, err := nearcache.New(node, "some-fail", nearcache.Options[User]{BatchLoader: nearcache.BatchValueLoader(load)})
	if err != nil {
		log.Fatal(err)
	}
	found, err := users.GetMany(ctx, []string{"1", "2", "3"})
	fmt.Println(len(found), err)
	var failed nearcache.KeysError
	fmt.Println(errors.As(err, &failed), failed["3"])
	// Output:
	// 2 nearcache: key "3": shard 3 is down
	// true shard 3 is down
}

// After a change, Refresh has the value loaded at once. Readers of all servers have the old one until
// the new one is stored: Invalidate would have them wait.
func ExampleCache_Refresh() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	name := "Ada"
	load := func(_ context.Context, id string) (User, error) { return User{id, name}, nil }
	users, err := nearcache.New(node, "refreshed-now", nearcache.Options[User]{Loader: nearcache.ValueLoader(load)})
	if err != nil {
		log.Fatal(err)
	}
	u, _ := users.Get(ctx, "42")
	fmt.Println(u.Name)

	name = "Grace" // UPDATE users ...
	fmt.Println(users.Refresh(ctx, "42"))
	u, _ = users.Get(ctx, "42")
	fmt.Println(u.Name)
	// Output:
	// Ada
	// <nil>
	// Grace
}

// A value that is read within RefreshAhead of its end is loaded in the background. Readers have
// the old one until then, and nobody waits.
func ExampleOptions_refreshAhead() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	names := make(chan string, 1)
	users, err := nearcache.New(node, "refreshed", nearcache.Options[User]{
		TTL:          time.Hour,
		RefreshAhead: time.Hour - time.Millisecond, // a minute or so in a service
		Loader: nearcache.ValueLoader(func(_ context.Context, id string) (User, error) {
			return User{id, <-names}, nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = users.Set(ctx, "42", User{"42", "Ada"})
	time.Sleep(2 * time.Millisecond)
	u, _ := users.Get(ctx, "42") // begins the load, which takes its time
	fmt.Println(u.Name)
	u, _ = users.Get(ctx, "42")
	fmt.Println(u.Name)

	names <- "Grace" // the load ends
	for u.Name == "Ada" {
		u, _ = users.Get(ctx, "42")
	}
	fmt.Println(u.Name)
	close(names)
	// Output:
	// Ada
	// Ada
	// Grace
}

// A loader that reads a replica asks the primary while the replica may not have the change that
// the invalidation told of.
func ExampleSinceInvalidated() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	const lag = 30 * time.Second
	load := func(ctx context.Context, id string) (User, error) {
		if ago, ok := nearcache.SinceInvalidated(ctx); ok && ago < lag {
			return User{id, "Grace, says the primary"}, nil
		}
		return User{id, "Ada, says the replica"}, nil
	}
	users, err := nearcache.New(node, "replica", nearcache.Options[User]{Loader: nearcache.ValueLoader(load)})
	if err != nil {
		log.Fatal(err)
	}
	u, _ := users.Get(ctx, "42")
	fmt.Println(u.Name)
	_ = users.Invalidate(ctx, "42") // UPDATE users ... on the primary
	u, _ = users.Get(ctx, "42")
	fmt.Println(u.Name)
	// Output:
	// Ada, says the replica
	// Grace, says the primary
}

// A fleet changes its codec and loses nothing. First every server reads the new codec as well;
// then servers begin to write it, and read what is left of the old one.
func ExampleOptions_readCodecs() {
	ctx := context.Background()
	before, after := newNode(), newNode()
	defer before.Close(context.Background())
	defer after.Close(context.Background())
	old, _ := nearcache.New(before, "codecs", nearcache.Options[User]{
		ReadCodecs: []shared.Codec{cborcodec.New()}, // and writes JSON, the default
	})
	_ = old.Set(ctx, "42", User{"42", "Ada"})

	users, _ := nearcache.New(after, "codecs", nearcache.Options[User]{
		Codec: cborcodec.New(), ReadCodecs: []shared.Codec{shared.JSON},
	})
	u, err := users.Get(ctx, "42")
	fmt.Println(u.Name, err)
	// Output: Ada <nil>
}

// A panic in a loader is an error of those who wait for it, and ends nothing else.
func ExamplePanicError() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "panics")
	_, err := users.Fetch(context.Background(), "42", func(context.Context, string) (User, error) {
		panic("no such column")
	})
	if p, ok := errors.AsType[*nearcache.PanicError](err); ok {
		fmt.Println(p.Callback, p.Key, p.Value) // p.Stack says where
	}
	// Output: loader 42 no such column
}

// How well does a cache do?
func ExampleCache_Stats() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "stats")
	for range 4 {
		_, _ = users.Fetch(ctx, "42", func(_ context.Context, id string) (User, error) { return User{id, "Ada"}, nil })
	}
	s := users.Stats()
	fmt.Println(s.Reads.Hits, s.Reads.Misses, s.Loads.Keys, s.NearHitRatio())
	// Output: 3 1 1 0.75
}
