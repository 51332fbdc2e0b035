package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// Open makes all parts of a node over any store and any transport. With those of redisstore,
// memcachestore, redisbus or natsbus, no other line changes.
func ExampleOpen() {
	ctx := context.Background()
	node, err := nearcache.Open(ctx, memstore.New(memstore.Options{}), membus.NewHub().Join(), nearcache.OpenOptions{
		Bus:    bus.Options{Node: "web-1"},
		Node:   nearcache.NodeOptions{NearBytes: 256 << 20},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(ctx)
	users, err := nearcache.New(node, "users", nearcache.Options[User]{TTL: 10 * time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(users.Set(ctx, "42", User{"42", "Ada"}))
	// Output: <nil>
}

// At the end of a program, Close delivers what is pending for as long as its context allows.
func ExampleNode_Close() {
	node := newNode()
	users := newUsers(node, "closed")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := node.Close(ctx); err != nil {
		log.Print(err) // how many invalidations were not delivered
	}
	_, err := users.Get(context.Background(), "42")
	fmt.Println(errors.Is(err, nearcache.ErrClosed))
	// Output: true
}

// A readiness probe asks for Trusted until it was true once. Later, it is for alerts.
func ExampleNode_Health() {
	node := newNode()
	defer node.Close(context.Background())
	h := node.Health() // log.Print(h) says why a node is not trusted
	fmt.Println(h.Trusted, h.BusCut, h.PendingInvalidations)
	// Output: true false 0
}

// A bridge to any system of metrics reads all numbers from one list.
func ExampleNode_Metrics() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "measured")
	_ = users.Set(ctx, "42", User{"42", "Ada"})
	for range 3 {
		_, _ = users.Get(ctx, "42")
	}
	for _, m := range node.Metrics() {
		if m.Kind == nearcache.Counter && m.Value > 0 && m.Cache == "measured" {
			fmt.Println(m.Name, m.Value)
		}
	}
	// Output:
	// nearbus_cache_hits_total 3
	// nearbus_cache_sets_total 1
}

// What caches does this process have, with which options, and what do they take?
func ExampleNode_Caches() {
	node := newNode()
	defer node.Close(context.Background())
	_ = newUsers(node, "listed").Set(context.Background(), "42", User{"42", "Ada"})
	for _, c := range node.Caches() {
		fmt.Println(c.Name, c.Type, c.Settings.TTL, c.Settings.LoadTimeout, c.Entries)
	}
	// Output: listed nearcache_test.User 5m0s 30s 1
}

// Which other servers does this one hear, and are they set up alike?
func ExampleNode_Peers() {
	ctx := context.Background()
	store, hub := memstore.New(memstore.Options{}), membus.NewHub()
	var web []*nearcache.Node
	for _, name := range []string{"web-1", "web-2"} {
		node, err := nearcache.Open(ctx, store, hub.Join(), nearcache.OpenOptions{Bus: bus.Options{Node: name}})
		if err != nil {
			log.Fatal(err)
		}
		defer node.Close(ctx)
		web = append(web, node)
	}
	for len(web[0].Peers()) == 0 { // until a heartbeat of the other is heard
		time.Sleep(time.Millisecond)
	}
	for _, p := range web[0].Peers() {
		fmt.Printf("%s differs in %q\n", p.Node, p.Differs)
	}
	// Output: web-2 differs in ""
}

// A service lowers the bound of its near tier while memory is scarce, and raises it again later.
func ExampleNode_SetNearBytes() {
	node := newNode()
	ctx := context.Background()
	defer node.Close(ctx)
	pages, err := nearcache.New(node, "pages", nearcache.Options[string]{Codec: shared.Raw})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 100 {
		if err := pages.Set(ctx, strconv.Itoa(i), strings.Repeat("x", 2000)); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(node.Stats().Near.Entries)
	if err := node.SetNearBytes(512 << 10); err != nil {
		log.Fatal(err)
	}
	fmt.Println(node.Stats().Near.Entries < 100)
	// Output:
	// 100
	// true
}

// A service has a cache for each tenant, and closes that of one who leaves. The node goes on with
// the others, and the name is free.
func ExampleCache_Close() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	acme, other := newUsers(node, "tenant-acme"), newUsers(node, "tenant-other")
	_ = acme.Set(ctx, "42", User{"42", "Ada"})
	_ = other.Set(ctx, "1", User{"1", "Grace"})

	fmt.Println(acme.Close(ctx))
	_, err := acme.Get(ctx, "42")
	fmt.Println(errors.Is(err, nearcache.ErrClosed), len(node.Caches()), node.Stats().Near.Entries)
	u, err := newUsers(node, "tenant-acme").Get(ctx, "42") // the shared tier has it
	fmt.Println(u.Name, err)
	// Output:
	// <nil>
	// true 1 1
	// Ada <nil>
}

// One change in the source concerns several caches: one call ends what is old in all of them, and one
// message tells the other servers.
func ExampleNode_Invalidate() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users, teams := newUsers(node, "members"), newUsers(node, "teams")
	_ = users.Set(ctx, "42", User{"42", "Ada"})
	_ = teams.SetEntry(ctx, "7", nearcache.Entry[User]{Value: User{"7", "Engines"}, Tags: []string{"member:42"}})

	errs := node.Invalidate(ctx,
		nearcache.Invalidation{Cache: "members", Keys: []string{"42"}},
		nearcache.Invalidation{Cache: "teams", Tags: []string{"member:42"}},
		nearcache.Invalidation{Cache: "misspelt", All: true},
	)
	fmt.Println(errs[0], errs[1])
	fmt.Println(errs[2])
	_, err := teams.Get(ctx, "7")
	fmt.Println(errors.Is(err, nearcache.ErrNotFound))
	// Output:
	// <nil> <nil>
	// nearcache: Invalidate: the node has no cache "misspelt"
	// true
}

// A process that ends leaves the keys that were read most, and the one that follows has them near
// before it takes requests. The list is kept in the shared tier, in a cache of its own; a file
// does as well.
func ExampleCache_Warm() {
	ctx := context.Background()
	before := newNode()
	users := newUsers(before, "warmed")
	_ = users.Set(ctx, "42", User{"42", "Ada"})
	lists, err := nearcache.New(before, "hottest", nearcache.Options[[]string]{TTL: 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	if err := lists.Set(ctx, "warmed", users.HottestKeys(10_000)); err != nil {
		log.Print(err) // the next process begins cold
	}
	_ = before.Close(ctx)

	after := newNode()
	defer after.Close(ctx)
	users = newUsers(after, "warmed")
	lists, err = nearcache.New(after, "hottest", nearcache.Options[[]string]{TTL: 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	hottest, _ := lists.Get(ctx, "warmed") // there may be none
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	result, err := users.Warm(soon, hottest, nearcache.WarmOptions{})
	fmt.Println(result.Warmed, result.Left, err)
	// Output: 1 0 <nil>
}
