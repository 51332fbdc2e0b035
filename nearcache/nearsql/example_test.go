package nearsql_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/bus/membus"
	"github.com/nearbus/nearbus/nearcache"
	"github.com/nearbus/nearbus/nearcache/nearsql"
	"github.com/nearbus/nearbus/shared"
	"github.com/nearbus/nearbus/shared/memstore"
)

// User is what the examples cache.
type User struct{ ID, Name string }

// newUsers stands for nearredis.Open and nearcache.New of a service.
func newUsers() (*nearcache.Node, *nearcache.Cache[User]) {
	tier, err := shared.New(memstore.New(memstore.Options{}), shared.Options{})
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(membus.NewHub().Join(), bus.Options{})
	if err != nil {
		log.Fatal(err)
	}
	node, err := nearcache.NewNode(tier, b, nearcache.NodeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	users, err := nearcache.New(node, "users", nearcache.Options[User]{})
	if err != nil {
		log.Fatal(err)
	}
	return node, users
}

// A transaction changes a user, and says in the outbox that the cache is stale. Whether this
// process lives on or not, a relay invalidates the cache.
func Example() {
	ctx := context.Background()
	node, users := newUsers()
	defer node.Close(ctx)
	_ = users.Set(ctx, "42", User{ID: "42", Name: "Ada"})

	db, _ := openFake() // sql.Open with your driver, after the migration with nearsql.Schema
	defer db.Close()
	relay, err := nearsql.NewRelay(db, nearsql.SQLite, map[string]nearsql.Cache{"users": users}, nearsql.RelayOptions{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- relay.Run(ctx) }()

	// In your transaction, beside the UPDATE: tx.ExecContext(ctx, query, args...)
	query, args := nearsql.Insert(nearsql.SQLite, "users", "42")
	if _, err := db.ExecContext(ctx, query, args...); err != nil {
		log.Fatal(err)
	}
	relay.Ring() // after the commit

	for relay.Stats().Delivered == 0 { // a service does not wait
	}
	_, err = users.Get(ctx, "42")
	fmt.Println(err)
	cancel() // before the node is closed
	fmt.Println(<-ended)
	// Output:
	// nearbus: not found: deleted or invalidated
	// context canceled
}

// A migration runs the statements one by one.
func ExampleSchema() {
	for _, statement := range nearsql.Schema(nearsql.PostgreSQL) {
		first, _, _ := strings.Cut(statement, "\n")
		fmt.Println(first)
	}
	// Output:
	// CREATE TABLE IF NOT EXISTS nearbus_outbox (
	// CREATE TABLE IF NOT EXISTS nearbus_outbox_aside (
}

// Tags and whole caches go the same way.
func ExampleInsertTags() {
	query, args := nearsql.InsertTags(nearsql.MySQL, "users", "org:7")
	fmt.Println(query, args)
	query, args = nearsql.InsertClear(nearsql.MySQL, "users")
	fmt.Println(query, args)
	// Output:
	// INSERT INTO nearbus_outbox (cache, op, name) VALUES (?, 'tag', ?) [users org:7]
	// INSERT INTO nearbus_outbox (cache, op, name) VALUES (?, 'clear', ?) [users ]
}

func ExampleInsert() {
	query, args := nearsql.Insert(nearsql.PostgreSQL, "users", "42", "43")
	fmt.Println(query)
	fmt.Println(args)
	// Output:
	// INSERT INTO nearbus_outbox (cache, op, name) VALUES ($1, 'key', $2), ($3, 'key', $4)
	// [users 42 users 43]
}
