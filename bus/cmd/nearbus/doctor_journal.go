package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
)

// How far a journal must go back: a server that is away for longer begins with an empty near tier.
const (
	shortJournal    = time.Minute
	tooShortJournal = 10 * time.Second
)

// redisJournal looks at the journals of the fleet: how far they go back, and whether a clock was set back.
func (c *checkup) redisJournal(ctx context.Context) {
	at := c.fleet.store.String()
	now, err := c.fleet.redis.Time(ctx).Result()
	if err != nil {
		c.unreachable("redis-journal", at, err)
		return
	}
	var all []journalState
	for p := range c.partitions() {
		s, err := c.journalOf(ctx, p, now)
		if err != nil {
			c.add(finding{Severity: critical, Check: "redis-journal", At: at, What: "the journal cannot be read: " + tell(err)})
			return
		}
		if s.used {
			all = append(all, s)
		}
	}
	c.judgeJournals(at, all)
}

func (c *checkup) partitions() int {
	switch {
	case c.inv.partitions > 0:
		return c.inv.partitions
	case c.fleet.store.kind() == "redis+cluster":
		return 64
	}
	return 1
}

// journalState is what there is of one.
type journalState struct {
	used    bool          // there is metadata
	there   bool          // there is a journal
	trimmed bool          // entries have been given up
	back    time.Duration // how far it goes
	ahead   time.Duration // how far its latest number is ahead of the clock
}

// journalOf looks at the journal of a partition. Its numbers are times, in microseconds.
func (c *checkup) journalOf(ctx context.Context, partition int, now time.Time) (s journalState, err error) {
	name, _ := driver.Namespace(c.inv.namespace)
	key := fmt.Sprintf("%s:{%d}", name, partition)
	meta, err := c.fleet.redis.Get(ctx, key).Bytes()
	if err == redis.Nil { //nolint:errorlint // It is returned as it is.
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s.used = true
	if len(meta) >= 16 {
		s.ahead = time.UnixMicro(int64(binary.BigEndian.Uint64(meta[8:]))).Sub(now)
	}
	entries, err := c.fleet.redis.XRangeN(ctx, key+"!journal", "-", "+", 1).Result()
	if err != nil || len(entries) == 0 {
		return s, err
	}
	s.there = true
	number, _, _ := strings.Cut(entries[0].ID, "-")
	first, _ := strconv.ParseInt(number, 10, 64)
	s.back = now.Sub(time.UnixMicro(first))
	content, _ := entries[0].Values["k"].(string)
	s.trimmed = len(content) > 8 // the first entry of a journal has no key
	return s, nil
}

func (c *checkup) judgeJournals(at string, all []journalState) {
	if len(all) == 0 {
		c.add(finding{
			Severity: warning, Check: "redis-journal", At: at,
			What:   "there is nothing of nearbus under this namespace yet",
			Change: "nothing if no server was started yet; otherwise correct host, database, -namespace",
		})
		return
	}
	shortest, ahead, gone := all[0].back, all[0].ahead, 0
	trimmed := false
	for _, s := range all {
		if s.trimmed && (!trimmed || s.back < shortest) {
			shortest, trimmed = s.back, true
		}
		ahead = max(ahead, s.ahead)
		if !s.there {
			gone++
		}
	}
	if ahead > clockAside {
		c.add(finding{
			Severity: warning, Check: "redis-clock", At: at, Page: "assumptions.md#servers",
			What:   fmt.Sprintf("the latest revision is %v ahead of the clock, which was set back: how old answers are is not known exactly until then", rounded(ahead)),
			Change: "have an NTP daemon that slews the clock",
		})
	}
	if gone > 0 {
		c.add(finding{
			Severity: warning, Check: "redis-journal", At: at, Page: "operations.md#settings-of-the-server",
			What:   fmt.Sprintf("%d of %s are not there: they were evicted or deleted, or a server has a negative JournalLength", gone, plural(len(all), "journal")),
			Change: "maxmemory-policy noeviction or volatile-*, no FLUSHALL or DEL, and the same JournalLength for all servers",
		})
	}
	c.judgeLength(at, shortest, trimmed)
}

func (c *checkup) judgeLength(at string, back time.Duration, trimmed bool) {
	f := finding{
		Severity: warning, Check: "redis-journal-length", At: at, Page: "options.md",
		What: fmt.Sprintf("the journal goes back %v at the rate of writes now: a server that is away for longer begins with an empty near tier", back.Round(10*time.Millisecond)),
	}
	switch {
	case trimmed && back < tooShortJournal:
		f.Severity, f.Change = critical, "raise JournalLength in all servers, at least tenfold"
	case trimmed && back < shortJournal:
		f.Change = "raise JournalLength in all servers, so that it goes back a minute at least"
	case trimmed:
		c.ok(f.Check, at, "the journal goes back %v", back.Round(time.Second))
		return
	default:
		c.ok(f.Check, at, "the journal has everything since it began, %v ago", back.Round(time.Second))
		return
	}
	c.add(f)
}
