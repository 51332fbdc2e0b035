package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/nearbus/nearbus/nearcache"
)

// stream is a session that reads the log. The database sends transactions one after the other,
// in the order of their commits, and none that was rolled back.
type stream struct {
	*Reader
	db        *pgx.Conn
	wal       *pgconn.PgConn
	tables    map[uint32][]target // by the number that the database gives a table
	within    bool                // a transaction
	xid       uint32              // of the transaction
	stale     []stale             // what was not told yet, by rule
	size      int                 // of the keys in it
	confirmed pglogrepl.LSN
}

// target is a rule, by its number, and where its column is.
type target struct {
	rule, column int // -1: the changes of the table come without the column
}

// stale is what the cache of a rule is to be told.
type stale struct {
	keys map[string]bool
	all  bool
}

func (s *stream) run(ctx context.Context) error {
	heard, next := time.Now(), time.Now()
	for {
		receiving, cancel := context.WithDeadline(ctx, next)
		message, err := s.wal.ReceiveMessage(receiving)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			err = s.take(ctx, message)
			heard = time.Now()
		case pgconn.Timeout(err) && time.Since(heard) > 3*s.opts.Heartbeat:
			return fmt.Errorf("replication: nothing heard of the database for %v", time.Since(heard).Round(time.Millisecond))
		case pgconn.Timeout(err):
			next = time.Now().Add(s.opts.Heartbeat)
			err = s.confirm(true)
		}
		if err != nil {
			return err
		}
	}
}

func (s *stream) take(ctx context.Context, message pgproto3.BackendMessage) error {
	if failure, ok := message.(*pgproto3.ErrorResponse); ok {
		return pgconn.ErrorResponseToPgError(failure)
	}
	data, ok := message.(*pgproto3.CopyData)
	if !ok || len(data.Data) == 0 {
		return fmt.Errorf("replication: the database has ended the stream, with %T", message)
	}
	switch body := data.Data[1:]; data.Data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		keepalive, err := pglogrepl.ParsePrimaryKeepaliveMessage(body)
		if err != nil {
			return err
		}
		if !s.within { // up to there, the log has nothing else for this slot
			s.confirmed = max(s.confirmed, keepalive.ServerWALEnd)
		}
		if keepalive.ReplyRequested {
			return s.confirm(false)
		}
	case pglogrepl.XLogDataByteID:
		part, err := pglogrepl.ParseXLogData(body)
		if err != nil {
			return err
		}
		change, err := pglogrepl.Parse(part.WALData)
		if err != nil {
			return err
		}
		return s.apply(ctx, change)
	}
	return nil
}

func (s *stream) apply(ctx context.Context, change pglogrepl.Message) error {
	switch m := change.(type) {
	case *pglogrepl.BeginMessage:
		s.within, s.xid = true, m.Xid
	case *pglogrepl.RelationMessage: // before the first change of a table, and when the table was altered
		s.tables[m.RelationID] = s.targetsOf(m)
	case *pglogrepl.InsertMessage: // a cache may remember that there was none
		return s.changed(ctx, m.RelationID, m.Tuple)
	case *pglogrepl.UpdateMessage: // without the old row where the replica identity is unchanged
		return s.changed(ctx, m.RelationID, m.OldTuple, m.NewTuple)
	case *pglogrepl.DeleteMessage:
		return s.changed(ctx, m.RelationID, m.OldTuple)
	case *pglogrepl.TruncateMessage:
		for _, table := range m.RelationIDs {
			s.skip(table)
			for _, t := range s.tables[table] {
				s.stale[t.rule].all = true
			}
		}
	case *pglogrepl.CommitMessage:
		if err := s.tell(ctx); err != nil {
			return err
		}
		s.within, s.confirmed = false, m.TransactionEndLSN
		s.transactions.Add(1)
		return s.confirm(false)
	}
	return nil
}

// targetsOf finds the columns of the rules for a table. The database marks those that are part
// of the replica identity.
func (s *stream) targetsOf(table *pglogrepl.RelationMessage) (targets []target) {
	for i, rule := range s.rules {
		if rule.Table != table.Namespace+"."+table.RelationName {
			continue
		}
		column := slices.IndexFunc(table.Columns, func(c *pglogrepl.RelationMessageColumn) bool {
			return c.Name == rule.Column && c.Flags&1 != 0
		})
		if column < 0 {
			s.logger.Error("replication: changes come without the key, and clear the whole cache: "+
				"the column is not there, or not part of the replica identity", "table", rule.Table, "column", rule.Column)
		}
		targets = append(targets, target{i, column})
	}
	return targets
}

func (s *stream) skip(table uint32) {
	if len(s.tables[table]) == 0 {
		s.skipped.Add(1)
	}
}

// changed notes the keys of a row, before and after a change.
func (s *stream) changed(ctx context.Context, table uint32, rows ...*pglogrepl.TupleData) error {
	s.skip(table)
	for _, t := range s.tables[table] {
		if t.column < 0 {
			s.keyless.Add(1)
			s.stale[t.rule].all = true
			continue
		}
		for _, row := range rows {
			if row == nil || row.Columns[t.column].DataType != pglogrepl.TupleDataTypeText {
				continue
			}
			keys := &s.stale[t.rule].keys
			if *keys == nil {
				*keys = make(map[string]bool)
			}
			if key := string(row.Columns[t.column].Data); !(*keys)[key] {
				(*keys)[key] = true
				s.size++
			}
		}
	}
	if s.size < maxBatch {
		return nil
	}
	return s.tell(ctx)
}

// tell tells the caches what is stale.
func (s *stream) tell(ctx context.Context) error {
	seen := false // in other sessions
	for i := range s.stale {
		stale, cache := &s.stale[i], s.rules[i].Cache
		if !stale.all && len(stale.keys) == 0 {
			continue
		}
		if !seen {
			if err := s.awaitVisible(ctx); err != nil {
				return err
			}
			seen = true
		}
		var err error
		if stale.all {
			err = s.clear(ctx, cache)
		} else {
			err = s.invalidate(ctx, cache, slices.Collect(maps.Keys(stale.keys)))
		}
		if err != nil {
			return err
		}
		stale.all = false
		clear(stale.keys)
	}
	s.size = 0
	return nil
}

// awaitVisible waits until loaders see what the transaction changed. A commit is in the log
// before other sessions see the rows: by a moment, or by as long as the commit waits for
// synchronous standbys. A load in between an invalidation and that end would bring the old row
// back.
func (s *stream) awaitVisible(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		querying, cancel := context.WithTimeout(ctx, callTimeout)
		var snapshot string
		err := s.db.QueryRow(querying, "SELECT pg_current_snapshot()::text").Scan(&snapshot)
		cancel()
		if err != nil || visible(snapshot, s.xid) {
			return err
		}
		sleep(ctx, pause)
	}
}

// visible reports whether a snapshot shows what a transaction did. The text of a snapshot is
// xmin:xmax:list. Transactions from xmax on and those of the list do not show. The numbers of a
// snapshot have 64 bits, those of the log the lower 32.
func visible(snapshot string, xid uint32) bool {
	parts := strings.Split(snapshot, ":")
	if len(parts) != 3 || int32(xid-low(parts[1])) >= 0 {
		return false
	}
	for running := range strings.SplitSeq(parts[2], ",") {
		if running != "" && low(running) == xid {
			return false
		}
	}
	return true
}

func low(number string) uint32 {
	n, _ := strconv.ParseUint(number, 10, 64) // what PostgreSQL prints is one
	return uint32(n)
}

// confirm tells the database what needs not be sent again.
func (s *stream) confirm(ask bool) error {
	// The context is not used by this function of pglogrepl.
	return pglogrepl.SendStandbyStatusUpdate(context.Background(), s.wal,
		pglogrepl.StandbyStatusUpdate{WALWritePosition: s.confirmed, ReplyRequested: ask})
}

func (r *Reader) clear(ctx context.Context, cache Cache) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := cache.Clear(ctx)
	if err == nil {
		r.clears.Add(1)
	}
	return err
}

// invalidate ignores keys that a cache refuses: nothing can be cached under them.
func (r *Reader) invalidate(ctx context.Context, cache Cache, keys []string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := cache.Invalidate(ctx, keys...)
	refused := 0
	if failed, ok := errors.AsType[nearcache.KeysError](err); ok {
		for key, keyErr := range failed {
			if errors.Is(keyErr, nearcache.ErrInvalidKey) {
				refused++
				delete(failed, key)
			}
		}
		if len(failed) == 0 {
			err = nil
		}
	}
	if err == nil {
		r.keys.Add(uint64(len(keys) - refused))
		r.invalid.Add(uint64(refused))
	}
	return err
}
