package nearcache_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// User is what the examples cache.
type User struct {
	ID   string
	Name string
}

// A store and a hub in memory stand for the servers that a fleet has in common.
var (
	store = memstore.New(memstore.Options{})
	hub   = membus.NewHub()
)

// newNode does what each server of a fleet does when it starts.
func newNode() *nearcache.Node {
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(hub.Join(), bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	// Not needed in a service: what comes near before then is kept for a short time.
	for h := node.Health(); h.BusCut || !h.Trusted; h = node.Health() {
		time.Sleep(time.Millisecond)
	}
	return node
}

func newUsers(node *nearcache.Node, name string) *nearcache.Cache[User] {
	users, err := nearcache.New(node, name, nearcache.Options[User]{TTL: 5 * time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	return users
}

// Two servers cache the same users. One changes a user; the other does not go
// on with the old one.
func Example() {
	ctx := context.Background()
	one, two := newNode(), newNode()
	defer one.Close(context.Background())
	defer two.Close(context.Background())
	here, there := newUsers(one, "example"), newUsers(two, "example")

	load := func(_ context.Context, id string) (User, error) {
		return User{ID: id, Name: "Ada"}, nil // ask the database
	}
	u, _ := there.Fetch(ctx, "42", load)
	fmt.Println("there:", u.Name)

	if err := here.Set(ctx, "42", User{ID: "42", Name: "Grace"}); err != nil {
		log.Fatal(err)
	}
	for u.Name != "Grace" { // a moment for the message, one hop of the bus
		u, _ = there.Get(ctx, "42")
	}
	fmt.Println("there:", u.Name)
	// Output:
	// there: Ada
	// there: Grace
}

// Fetch is cache-aside in one call: near, else shared, else the loader, whose
// value is stored for all.
func ExampleCache_Fetch() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "fetch")
	for range 3 {
		u, err := users.Fetch(context.Background(), "42", func(_ context.Context, id string) (User, error) {
			fmt.Println("asked the database for", id)
			return User{ID: id, Name: "Ada"}, nil
		})
		fmt.Println(u.Name, err)
	}
	_, err := users.Fetch(context.Background(), "43", func(context.Context, string) (User, error) {
		return User{}, nearcache.ErrNotFound
	})
	fmt.Println(err)
	// Output:
	// asked the database for 42
	// Ada <nil>
	// Ada <nil>
	// Ada <nil>
	// nearbus: not found
}

// With NotFoundTTL, the source is asked once for what it does not have.
func ExampleOptions_notFoundTTL() {
	node := newNode()
	defer node.Close(context.Background())
	users, err := nearcache.New(node, "absent", nearcache.Options[User]{NotFoundTTL: 30 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		_, err := users.Fetch(context.Background(), "43", func(_ context.Context, id string) (User, error) {
			fmt.Println("asked the database for", id)
			return User{}, nearcache.ErrNotFound
		})
		fmt.Println(errors.Is(err, nearcache.ErrNotFound))
	}
	// Output:
	// asked the database for 43
	// true
	// true
	// true
}

// With Stale.For, an outage of the database is answered with old values, and
// with RefreshAhead, readers of a hot key never wait for it.
func ExampleOptions_failSafe() {
	node := newNode()
	defer node.Close(context.Background())
	users, err := nearcache.New(node, "fail-safe", nearcache.Options[User]{
		TTL: time.Minute, RefreshAhead: 10 * time.Second,
		Stale: nearcache.Stale{For: 24 * time.Hour, Timeout: 200 * time.Millisecond},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	_ = users.Set(ctx, "42", User{"42", "Ada"})
	_ = users.Invalidate(ctx, "42") // it changed, they say
	u, err := users.Fetch(ctx, "42", func(context.Context, string) (User, error) {
		return User{}, errors.New("the database is down")
	})
	fmt.Println(u.Name, err, users.Stats().Reads.Stale)

	_ = users.Delete(ctx, "42")
	_, err = users.Fetch(ctx, "42", func(context.Context, string) (User, error) {
		return User{}, errors.New("the database is down")
	})
	fmt.Println(err)
	// Output:
	// Ada <nil> 1
	// the database is down
}

// A loader that asks the source whether the old value still holds.
func ExampleLoaded_notModified() {
	node := newNode()
	defer node.Close(context.Background())
	users, err := nearcache.New(node, "conditional", nearcache.Options[User]{Stale: nearcache.Stale{For: time.Hour}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	_ = users.Set(ctx, "42", User{"42", "Ada"})
	_ = users.Invalidate(ctx, "42")
	u, err := users.FetchEntry(ctx, "42", func(_ context.Context, id string, old *User) (nearcache.Loaded[User], error) {
		if old != nil && old.Name == "Ada" { // ask by version or ETag
			return nearcache.Loaded[User]{NotModified: true}, nil
		}
		return nearcache.Loaded[User]{Value: User{id, "Grace"}}, nil
	})
	fmt.Println(u.Name, err)
	// Output: Ada <nil>
}

// Options that keep herds from the source and from the shared tier: lifetimes
// that do not end together, and a limit to the loads of one server.
func ExampleOptions_maxLoads() {
	node := newNode()
	defer node.Close(context.Background())
	users, err := nearcache.New(node, "herds", nearcache.Options[User]{TTLJitter: 0.1, MaxConcurrentLoads: 50})
	if err != nil {
		log.Fatal(err)
	}
	u, err := users.Fetch(context.Background(), "42", func(_ context.Context, id string) (User, error) {
		return User{id, "Ada"}, nil
	})
	fmt.Println(u.Name, err, users.Stats().Loads.Queued)
	// Output: Ada <nil> 0
}

// FetchMany asks for what is missing in one call.
func ExampleCache_FetchMany() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "many")
	ctx := context.Background()
	_ = users.Set(ctx, "1", User{"1", "Ada"})
	found, err := users.FetchMany(ctx, []string{"1", "2", "3"}, func(_ context.Context, missing []string) (map[string]User, error) {
		fmt.Println("asked the database for", len(missing), "users")
		return map[string]User{"2": {"2", "Grace"}}, nil // there is no 3
	})
	fmt.Println(found["1"].Name, found["2"].Name, len(found), err)
	// Output:
	// asked the database for 2 users
	// Ada Grace 2 <nil>
}

// FetchEntryMany is FetchMany with lifetimes and tags for each value.
func ExampleCache_FetchEntryMany() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "many-entries")
	found, err := users.FetchEntryMany(context.Background(), []string{"1", "2"}, func(_ context.Context, missing []string) (map[string]nearcache.Loaded[User], error) {
		return map[string]nearcache.Loaded[User]{
			"1": {Value: User{"1", "Ada"}, Tags: []string{"org:7"}},
			"2": {Value: User{"2", "Grace"}, TTL: time.Hour, NearTTL: time.Minute},
		}, nil
	})
	fmt.Println(found["1"].Name, found["2"].Name, err)
	// Output: Ada Grace <nil>
}

// Tags that follow from the value are best given in one place: then they are there
// whichever way the value came in.
func ExampleOptions_tags() {
	node := newNode()
	defer node.Close(context.Background())
	ctx := context.Background()
	users, _ := nearcache.New(node, "by-letter", nearcache.Options[User]{
		Tags: func(_ string, u User) []string { return []string{"letter:" + u.Name[:1]} },
	})
	_ = users.Set(ctx, "1", User{"1", "Ada"})
	_, _ = users.Fetch(ctx, "2", func(_ context.Context, id string) (User, error) { return User{id, "Grace"}, nil })

	_ = users.InvalidateTags(ctx, "letter:A")
	_, err := users.Get(ctx, "1")
	grace, _ := users.Get(ctx, "2")
	fmt.Println(errors.Is(err, nearcache.ErrNotFound), grace.Name)
	// Output: true Grace
}

// SetMany and GetMany are one round trip and, for the write, one message. What
// failed is told key by key.
func ExampleCache_SetMany() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "batches")
	ctx := context.Background()
	err := users.SetMany(ctx, map[string]User{"1": {"1", "Ada"}, "2": {"2", "Grace"}})
	if failed, ok := errors.AsType[nearcache.KeysError](err); ok {
		for key, err := range failed {
			fmt.Println(key, "was not stored:", err)
		}
	}
	found, err := users.GetMany(ctx, []string{"1", "2", "3"})
	fmt.Println(found["1"].Name, found["2"].Name, len(found), err)
	// Output: Ada Grace 2 <nil>
}

// After Barrier no server answers with what was there before the write. If it
// fails, the error says which servers may.
func ExampleNode_Barrier() {
	ctx := context.Background()
	one, two := newNode(), newNode()
	defer one.Close(context.Background())
	defer two.Close(context.Background())
	here, there := newUsers(one, "barrier"), newUsers(two, "barrier")
	_ = here.Set(ctx, "42", User{"42", "Ada"})
	_, _ = there.Get(ctx, "42")

	if err := here.Set(ctx, "42", User{"42", "Grace"}); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	answered, err := one.Barrier(ctx, nearcache.BarrierOptions{AtLeast: 1})
	if err != nil {
		if late, ok := errors.AsType[*bus.BarrierError](err); ok {
			fmt.Println("not yet at", late.Missing)
		}
		return
	}
	u, _ := there.Get(ctx, "42")
	fmt.Println(answered, "answered, there:", u.Name)
	// Output: 1 answered, there: Grace
}

// A key for which it matters is read with a bound, and the answer says how old it
// may be. Other readers of the key go on as before.
func ExampleCache_Read() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "lookup")
	ctx := context.Background()
	_ = users.Set(ctx, "42", User{"42", "Ada"})

	a, err := users.Read(ctx, "42", nearcache.ReadOptions{MaxAge: 10 * time.Second}, nil)
	fmt.Println(a.Value.Name, a.Near, a.Age < 10*time.Second, err)
	a, err = users.Read(ctx, "42", nearcache.ReadOptions{FromShared: true}, nil)
	fmt.Println(a.Value.Name, a.Near, err)
	// Output:
	// Ada true true <nil>
	// Ada false <nil>
}

// A user writes on one server, and the next request goes to another. The token
// travels along, in a cookie say.
func ExampleCache_Token() {
	ctx := context.Background()
	one, two := newNode(), newNode()
	defer one.Close(context.Background())
	defer two.Close(context.Background())
	here, there := newUsers(one, "tokens"), newUsers(two, "tokens")
	_ = here.Set(ctx, "42", User{"42", "Ada"})
	_, _ = there.Get(ctx, "42")

	_ = here.Set(ctx, "42", User{"42", "Grace"})
	cookie := here.Token("42").String()

	var after nearcache.ConsistencyToken
	if err := after.UnmarshalText([]byte(cookie)); err != nil {
		log.Fatal(err)
	}
	a, err := there.Read(ctx, "42", nearcache.ReadOptions{After: after}, nil)
	fmt.Println(a.Value.Name, err)
	// Output: Grace <nil>
}

// A loader that knows more than the options of the cache returns an Entry.
func ExampleCache_FetchEntry() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "entries")
	u, err := users.FetchEntry(context.Background(), "42", func(_ context.Context, id string, _ *User) (nearcache.Loaded[User], error) {
		return nearcache.Loaded[User]{Value: User{id, "Ada"}, TTL: time.Hour, NearTTL: time.Minute}, nil
	})
	fmt.Println(u.Name, err)
	// Output: Ada <nil>
}

// After the database changed, Invalidate makes every server ask again. A load
// that began before the change leaves nothing behind.
func ExampleCache_Invalidate() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "invalidate")
	ctx := context.Background()
	name := "Ada"
	load := func(_ context.Context, id string) (User, error) { return User{id, name}, nil }
	u, _ := users.Fetch(ctx, "42", load)
	fmt.Println(u.Name)

	name = "Grace" // UPDATE users ...
	if err := users.Invalidate(ctx, "42"); err != nil {
		fmt.Println(err)
	}
	u, _ = users.Fetch(ctx, "42", load)
	fmt.Println(u.Name)
	// Output:
	// Ada
	// Grace
}

// Set writes through to the shared tier; what its errors mean is for the
// caller to decide on.
func ExampleCache_Set() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "set")
	ctx := context.Background()
	err := users.Set(ctx, "42", User{"42", "Ada"})
	switch {
	case err == nil:
	case errors.Is(err, nearcache.ErrNotBroadcast):
		fmt.Println("stored; others hear of it a little later")
	case errors.Is(err, nearcache.ErrOutcomeUnknown):
		fmt.Println("stored or not; this node has dropped what it had")
	default:
		fmt.Println(err)
	}
	u, err := users.Get(ctx, "42")
	fmt.Println(u.Name, err)
	// Output: Ada <nil>
}

// What belongs together is invalidated together: a tag from a writer or a loader.
func ExampleCache_InvalidateTags() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "tagged")
	load := func(_ context.Context, id string, _ *User) (nearcache.Loaded[User], error) {
		fmt.Println("loading", id)
		return nearcache.Loaded[User]{Value: User{id, "Ada"}, Tags: []string{"org:7"}}, nil
	}
	_, _ = users.FetchEntry(ctx, "42", load)
	_ = users.SetEntry(ctx, "43", nearcache.Entry[User]{Value: User{"43", "Bob"}, Tags: []string{"org:7", "admins"}})

	fmt.Println(users.InvalidateTags(ctx, "org:7")) // org 7 changed: all of its users are stale
	_, _ = users.FetchEntry(ctx, "42", load)
	_, err := users.Get(ctx, "43")
	fmt.Println(errors.Is(err, nearcache.ErrNotFound))
	// Output:
	// loading 42
	// <nil>
	// loading 42
	// true
}

// Without a bus, an answer is as old as the near TTL at most.
func ExampleNewNode_withoutBus() {
	tier, _ := shared.New(store, shared.Options{})
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(context.Background())
	users, err := nearcache.New(node, "ttl-only", nearcache.Options[User]{NearTTL: 2 * time.Second})
	fmt.Println(users != nil, err)
	// Output: true <nil>
}

// Without a shared tier, each node asks the source, and Set reaches all.
func ExampleNewNode_withoutSharedTier() {
	b, _ := bus.New(hub.Join(), bus.Options{})
	defer b.Close()
	node, err := nearcache.NewNode(nil, b, nearcache.NodeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(context.Background())
	users := newUsers(node, "bus-only")
	fmt.Println(users.Set(context.Background(), "42", User{"42", "Ada"}))
	// Output: <nil>
}

// binaryInt is a codec of one's own.
type binaryInt struct{}

func (binaryInt) ID() uint8 { return 128 }

func (binaryInt) Marshal(v any) ([]byte, error) {
	return binary.AppendVarint(nil, v.(int64)), nil
}

func (binaryInt) Unmarshal(data []byte, v any) error {
	n, size := binary.Varint(data)
	if size <= 0 {
		return errors.New("not a number")
	}
	*v.(*int64) = n
	return nil
}

// A codec decides how values look in the shared tier. Records name their codec,
// so a fleet can change it without a flush.
func ExampleOptions_codec() {
	node := newNode()
	defer node.Close(context.Background())
	visits, err := nearcache.New(node, "visits", nearcache.Options[int64]{Codec: binaryInt{}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	_ = visits.Set(ctx, "home", 7)
	n, err := visits.Get(ctx, "home")
	fmt.Println(n, err)
	// Output: 7 <nil>
}

// The near tier hands one value to all callers: what one of them does to it,
// the others see. Clone gives each a copy.
func ExampleOptions_clone() {
	node := newNode()
	defer node.Close(context.Background())
	ctx := context.Background()
	load := func(context.Context, string) ([]string, error) { return []string{"b", "a"}, nil }
	for name, clone := range map[string]func([]string) []string{"cloned": slices.Clone[[]string], "shared": nil} {
		lists, err := nearcache.New(node, name, nearcache.Options[[]string]{Clone: clone})
		if err != nil {
			log.Fatal(err)
		}
		list, _ := lists.Fetch(ctx, "42", load)
		slices.Sort(list) // changes the list that others get, unless it is a copy
		list, _ = lists.Fetch(ctx, "42", load)
		fmt.Println(name, list)
	}
	// Unordered output:
	// cloned [b a]
	// shared [a b]
}

// The meaning of a field changed, so records from before must not be read.
func ExampleOptions_schema() {
	node := newNode()
	defer node.Close(context.Background())
	prices, err := nearcache.New(node, "prices", nearcache.Options[int]{SchemaVersion: 2}) // 1 was in euros, 2 is in cents
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(prices.Set(context.Background(), "42", 1999))
	// Output: <nil>
}

// A node that measures how consistent its near tier is, for a dashboard.
func ExampleNode_Consistency() {
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	node, err := nearcache.NewNode(tier, nil, nearcache.NodeOptions{AuditRate: 1000})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(context.Background())
	users := newUsers(node, "metered")
	_ = users.Set(context.Background(), "42", User{"42", "Ada"})
	for node.Consistency().Checked == 0 {
		_, _ = users.Get(context.Background(), "42") // what is near is compared
		time.Sleep(time.Millisecond)
	}
	c := node.Consistency()
	fmt.Println("stale:", c.Stale)
	// Output: stale: 0
}

// What a node does and what happens to it can be counted, logged or alerted on. Hits are told to
// nobody.
func ExampleNodeOptions_observer() {
	loads := make(chan nearcache.Observation, 1)
	node, err := nearcache.Open(context.Background(), memstore.New(memstore.Options{}), membus.NewHub().Join(), nearcache.OpenOptions{
		Node: nearcache.NodeOptions{Observer: func(o nearcache.Observation) {
			switch o.Kind {
			case nearcache.ObservedLoad:
				loads <- o
			case nearcache.ObservedTrustLost:
				log.Print("not trusted: ", o.Err)
			}
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(context.Background())
	users, err := nearcache.New(node, "users", nearcache.Options[string]{})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		_, err := users.Fetch(context.Background(), "42", func(context.Context, string) (string, error) { return "Ada", nil })
		if err != nil {
			log.Fatal(err)
		}
	}
	o := <-loads
	fmt.Println(o.Kind, o.Cache, o.Count, o.Err)
	// Output: load users 1 <nil>
}

// At night somebody asks why a user is not in the cache.
func ExampleCache_Inspect() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "inspect")
	_ = users.Set(ctx, "42", User{ID: "42"})
	_ = users.Delete(ctx, "42")

	found, err := users.Inspect(ctx, "42", nearcache.InspectOptions{}) // fmt.Print(found) shows all of it
	fmt.Println(found.Outcome, err)
	fmt.Println(found.Why)
	fmt.Println(found.Near.Kind, "near,", found.Shared.Kind, "stored, in the journal:", found.Shared.Journal.Found)
	// Output:
	// miss <nil>
	// nothing is near, and the shared tier has no value: it was deleted or invalidated a moment ago
	// none near, tombstone stored, in the journal: true
}

// A program that is no server of the fleet looks at a record.
func ExampleInspectShared() {
	ctx := context.Background()
	tier, err := shared.New(store, shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	found, err := nearcache.InspectShared(ctx, tier, "inspectshared", "42", nearcache.InspectOptions{})
	fmt.Println(found.Name, found.Kind, err)
	fmt.Println(found.Why)
	// Output:
	// inspectshared:42 none <nil>
	// nothing is stored: it never was, or it expired or was evicted
}

// A caller tells apart why there is no value.
func Example_reasons() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "reasons")
	_, err := users.Get(ctx, "42")
	fmt.Println(errors.Is(err, nearcache.ErrNotFound), errors.Is(err, nearcache.ErrNotStored))
	_ = users.Delete(ctx, "42")
	_, err = users.Get(ctx, "42")
	fmt.Println(errors.Is(err, nearcache.ErrNotFound), errors.Is(err, nearcache.ErrDeleted))
	// Output:
	// true true
	// true true
}

// Which users does the database load all the time?
func ExampleCache_CostlyKeys() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "costly")
	load := func(context.Context, string) (User, error) { return User{}, nearcache.ErrNotFound }
	for range 3 {
		_, _ = users.Fetch(ctx, "nobody", load)
	}
	for _, k := range users.CostlyKeys().Loads {
		fmt.Println(k.Key, k.AtLeast)
	}
	// Output: nobody 3
}
