package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// answerDoorbell calls ring for every notification, until ctx ends.
//
// A notification is no more than a doorbell. It is lost if nobody listens at the moment of the
// commit: while the listener restarts, connects again, or stands behind a pooler that lends
// connections by transaction. So the relay goes on polling, and the doorbell makes the relay
// faster at best.
func answerDoorbell(ctx context.Context, config *pgx.ConnConfig, ring func()) {
	for ctx.Err() == nil {
		if err := listen(ctx, config, ring); ctx.Err() == nil {
			slog.Warn("the doorbell is out of order; the relay polls", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func listen(ctx context.Context, config *pgx.ConnConfig, ring func()) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN nearbus_outbox"); err != nil {
		return err
	}
	for {
		ring() // also at first, for what was committed while nobody listened
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}
