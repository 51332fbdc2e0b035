package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// kinds are changes of rows, and what servers answer afterwards, by the id of a user.
var kinds = []struct {
	statement string
	answers   map[int64]string
}{
	{"UPDATE users SET name = 'Ada' WHERE id = 1", map[int64]string{1: "Ada"}},
	{"UPDATE users SET id = 5001 WHERE id = 1", map[int64]string{1: "none", 5001: "Ada"}},
	{"INSERT INTO users (id, name) VALUES (5002, 'Grace')", map[int64]string{5002: "Grace"}},
	{"DELETE FROM users WHERE id = 5002", map[int64]string{5002: "none"}},
	{"TRUNCATE users", map[int64]string{2: "none", 5001: "none"}},
	{"INSERT INTO users SELECT id, 'User ' || id FROM generate_series(1, 1000) id", map[int64]string{1: "User 1", 2: "User 2", 5001: "none", 5002: "none"}},
}

// clear has every server ask again, whatever it has.
func (f *fleet) clear(ctx context.Context) error { return f.servers[0].users.Clear(ctx) }

// show has psql make a change of each kind, with a reader, and prints what the servers answer:
// within the bound, or for the last time.
func (c campaign) show(ctx context.Context, f *fleet, w wayOf, out io.Writer) error {
	if w.way != byOutbox && w.way != byReplication {
		return nil
	}
	if err := f.prepare(ctx, w.way); err != nil {
		return err
	}
	rs, err := startReaders(ctx, reader{way: w.way, databaseURL: f.databaseURL, redisAddr: f.redisAddr})
	if err != nil {
		return err
	}
	defer func() { _, _ = rs.end() }()
	fmt.Fprintf(out, "\n%s\n", w.title)
	for _, k := range kinds {
		began, err := f.change(ctx, k.statement)
		if err != nil {
			return err
		}
		var answers []string
		for id, want := range k.answers {
			if err := f.awaitAnswer(ctx, id, want, began.Add(c.bound)); err != nil {
				return fmt.Errorf("%s: %w", k.statement, err)
			}
			answers = append(answers, fmt.Sprintf("%d is %s", id, want))
		}
		slices.Sort(answers)
		fmt.Fprintf(out, "  %-58s  %9s  %s\n", shorten(k.statement, 58), ms(time.Since(began)), strings.Join(answers, ", "))
	}
	return nil
}

// change has psql run a statement while all servers have the old answers near. It returns when
// psql began.
func (f *fleet) change(ctx context.Context, statement string) (began time.Time, err error) {
	for _, s := range f.servers {
		for _, id := range []int64{1, 2, 5001, 5002} {
			if _, err := s.answer(ctx, id); err != nil {
				return began, err
			}
		}
	}
	began = time.Now()
	return began, f.psql.run(statement)
}

// awaitAnswer returns when every server gives an answer for a user, or errStale at the end.
func (f *fleet) awaitAnswer(ctx context.Context, id int64, want string, end time.Time) error {
	for _, s := range f.servers {
		got, err := s.answer(ctx, id)
		for ; err == nil && got != want; got, err = s.answer(ctx, id) {
			if time.Now().After(end) {
				return fmt.Errorf("%w: user %d is %q", errStale, id, got)
			}
			time.Sleep(100 * time.Microsecond)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most-3] + "..."
}
