package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// After Delete nobody gets the value, not even as a stale one. That it is not there is no error.
func ExampleCache_Delete() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "deleted")
	_ = users.Set(ctx, "42", User{"42", "Ada"})
	fmt.Println(users.Delete(ctx, "42", "43"))
	_, err := users.Get(ctx, "42")
	fmt.Println(errors.Is(err, nearcache.ErrNotFound), err)
	// Output:
	// <nil>
	// true nearbus: not found: deleted or invalidated
}

// Clear ends all values of a cache in one step, however many there are.
func ExampleCache_Clear() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "cleared")
	_ = users.SetMany(ctx, map[string]User{"1": {"1", "Ada"}, "2": {"2", "Grace"}})
	fmt.Println(users.Clear(ctx))
	found, err := users.GetMany(ctx, []string{"1", "2"})
	fmt.Println(len(found), err)
	// Output:
	// <nil>
	// 0 <nil>
}

// A value whose lifetimes are its own: for an hour in the shared tier, and for a second in the
// memory of each server.
func ExampleCache_SetEntry() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "own-ttl")
	err := users.SetEntry(ctx, "42", nearcache.Entry[User]{
		Value: User{"42", "Ada"}, TTL: time.Hour, NearTTL: time.Second, Tags: []string{"org:7"},
	})
	fmt.Println(err)
	u, err := users.Get(ctx, "42")
	fmt.Println(u.Name, err)
	// Output:
	// <nil>
	// Ada <nil>
}

// A session ends when it was not used for a time. Each request touches it, and hardly any of
// them asks the shared tier for that.
func ExampleCache_Touch() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	sessions := newUsers(node, "sessions")
	_ = sessions.SetEntry(ctx, "s1", nearcache.Entry[User]{Value: User{"42", "Ada"}, TTL: time.Minute})
	for range 1000 { // requests
		if err := sessions.Touch(ctx, "s1", 30*time.Minute); err != nil {
			fmt.Println("sign in again:", err)
		}
	}
	fmt.Println("asked for more time:", sessions.Stats().Writes.Touches)

	_ = sessions.Delete(ctx, "s1") // signed out
	err := sessions.Touch(ctx, "s1", 30*time.Minute)
	fmt.Println(errors.Is(err, nearcache.ErrNotFound), sessions.Stats().Writes.Touches)
	// Output:
	// asked for more time: 1
	// true 1
}

// SetEntryMany is SetMany for such values.
func ExampleCache_SetEntryMany() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "own-tags")
	err := users.SetEntryMany(ctx, map[string]nearcache.Entry[User]{
		"1": {Value: User{"1", "Ada"}, Tags: []string{"org:7"}},
		"2": {Value: User{"2", "Grace"}, Tags: []string{"org:8"}},
	})
	fmt.Println(err, users.InvalidateTags(ctx, "org:7"))
	found, _ := users.GetMany(ctx, []string{"1", "2"})
	fmt.Println(len(found), found["2"].Name)
	// Output:
	// <nil> <nil>
	// 1 Grace
}

// Of several keys some may fail. The others are done, and the error says of each what became of it.
func ExampleKeysError() {
	node := newNode()
	defer node.Close(context.Background())
	users := newUsers(node, "keys")
	err := users.Delete(context.Background(), "42", "")
	failed, _ := errors.AsType[nearcache.KeysError](err)
	for key, err := range failed {
		fmt.Printf("%q was not deleted: %v\n", key, errors.Is(err, nearcache.ErrInvalidKey))
	}
	// Output: "" was not deleted: true
}

// With Stale.Tags, a tag ends values for those who can get another. While the source is down, the old
// ones are given, and say so.
func ExampleStale_tags() {
	ctx := context.Background()
	node := newNode()
	defer node.Close(context.Background())
	down := func(context.Context, string, *User) (nearcache.Loaded[User], error) {
		return nearcache.Loaded[User]{}, errors.New("the database is down")
	}
	users, err := nearcache.New(node, "soft-tags", nearcache.Options[User]{
		Loader: down, Stale: nearcache.Stale{For: time.Hour, Tags: true},
	})
	if err != nil {
		fmt.Println(err)
	}
	_ = users.SetEntry(ctx, "42", nearcache.Entry[User]{Value: User{"42", "Ada"}, Tags: []string{"org:7"}})
	_ = users.InvalidateTags(ctx, "org:7")
	u, err := users.Read(ctx, "42", nearcache.ReadOptions{}, nil)
	fmt.Println(u.Value.Name, u.Stale, err)

	_ = users.Delete(ctx, "42") // nobody is to see it any more
	_, err = users.Get(ctx, "42")
	fmt.Println(err)
	// Output:
	// Ada true <nil>
	// the database is down
}
