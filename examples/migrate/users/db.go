package users

import (
	"context"
	"sync"
)

// DB stands for the database of all servers. Its methods may be called at once.
type DB struct {
	mu      sync.Mutex
	rows    map[string]User
	queries map[string]int
	held    map[string]*Held
}

// Held is a query that has read its row, and does not return before Release.
type Held struct {
	begun   chan struct{}
	release chan struct{}
}

// NewDB returns a database of these users.
func NewDB(rows ...User) *DB {
	db := &DB{rows: make(map[string]User), queries: make(map[string]int), held: make(map[string]*Held)}
	for _, u := range rows {
		db.rows[u.ID] = u
	}
	return db
}

// User returns the row of a user, or ErrNone.
func (db *DB) User(_ context.Context, id string) (User, error) {
	db.mu.Lock()
	db.queries[id]++
	u, ok := db.rows[id]
	held := db.held[id]
	delete(db.held, id)
	db.mu.Unlock()
	if held != nil {
		close(held.begun)
		<-held.release
	}
	if !ok {
		return User{}, ErrNone
	}
	return u, nil
}

// Save writes the row of a user.
func (db *DB) Save(_ context.Context, u User) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.rows[u.ID] = u
	return nil
}

// Queries returns how many queries there were for a user.
func (db *DB) Queries(id string) int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.queries[id]
}

// Hold has the next query for a user wait between reading the row and returning it.
func (db *DB) Hold(id string) *Held {
	db.mu.Lock()
	defer db.mu.Unlock()
	h := &Held{begun: make(chan struct{}), release: make(chan struct{})}
	db.held[id] = h
	return h
}

// Begun is closed once the query has read its row.
func (h *Held) Begun() <-chan struct{} { return h.begun }

// Release lets the query return. It must be called once.
func (h *Held) Release() { close(h.release) }
