package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// follows is one in how many writes that is followed to the last process.
const follows = 4

// traffic sends requests as clients do, and judges the answers by nothing but
// what was acknowledged to it.
type traffic struct {
	cfg       fleetConfig
	client    *http.Client
	processes []*process
	rows      []row
	end       chan struct{}
	took      time.Duration

	reads, puts, stale, behind atomic.Int64
	cutOff                     atomic.Int64 // requests to the killed process
	seen                       counts       // what processes told before they were killed
	notSeen                    atomic.Int64 // followed writes that did not arrive within the bound

	outMu sync.Mutex // held while printing

	mu        sync.Mutex // protects the following
	latencies []time.Duration
	hops      []time.Duration
	failures  []error
}

// row is what traffic knows of a user.
type row struct {
	acked   atomic.Int64 // version of the last write that was acknowledged
	settled atomic.Int64 // version that was acknowledged longer ago than the bound
}

func newTraffic(cfg fleetConfig) *traffic {
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * cfg.workers}
	return &traffic{
		cfg: cfg, rows: make([]row, cfg.users+1), end: make(chan struct{}),
		client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
	}
}

// run drives the fleet, with a crash midway.
func (d *traffic) run(ctx context.Context, out io.Writer) error {
	began := time.Now()
	crashed := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { together(d.cfg.workers, func() { d.work(ctx) }) })
	wg.Go(func() { every(d.end, time.Second, func() { d.line(out, time.Since(began)) }) })
	select {
	case <-ctx.Done():
	case <-time.After(d.cfg.duration / 2):
		d.print(out, "      killing a process\n")
		d.remember(ctx, d.processes[0])
		crashed <- d.processes[0].crash(ctx)
		d.print(out, "      it is back\n")
	}
	select {
	case <-ctx.Done():
	case <-time.After(max(0, d.cfg.duration-time.Since(began))):
	}
	close(d.end)
	wg.Wait()
	d.took = time.Since(began)
	close(crashed)
	return errors.Join(ctx.Err(), <-crashed)
}

// line tells how it is going.
func (d *traffic) line(out io.Writer, elapsed time.Duration) {
	d.print(out, "%4.0fs  %7d reads  %6d writes  %d stale\n", elapsed.Seconds(), d.reads.Load(), d.puts.Load(), d.stale.Load())
}

func (d *traffic) print(out io.Writer, format string, args ...any) {
	d.outMu.Lock()
	defer d.outMu.Unlock()
	fmt.Fprintf(out, format, args...)
}

// work sends one request after the other.
func (d *traffic) work(ctx context.Context) {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), 1.1, 1, uint64(d.cfg.users-1))
	for {
		select {
		case <-d.end:
			return
		default:
		}
		id := 1 + int(zipf.Uint64())
		p := d.processes[rand.IntN(len(d.processes))]
		if rand.Float64() < d.cfg.writes {
			d.write(ctx, p, id)
		} else {
			d.read(ctx, p, id)
		}
	}
}

// read reads a user and judges the answer.
func (d *traffic) read(ctx context.Context, p *process, id int) {
	settled, acked := d.rows[id].settled.Load(), d.rows[id].acked.Load() // before the request is sent
	began := time.Now()
	u, ok := d.send(ctx, p, http.MethodGet, id, nil)
	if !ok {
		return
	}
	took := time.Since(began)
	d.reads.Add(1)
	switch {
	case u.Version < settled:
		d.stale.Add(1)
		d.behind.Add(1)
	case u.Version < acked:
		d.behind.Add(1)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latencies = append(d.latencies, took)
}

// write changes a user. Only an answer acknowledges it: what a killed process
// did and did not tell counts for nothing.
func (d *traffic) write(ctx context.Context, p *process, id int) {
	body, err := json.Marshal(user{Name: fmt.Sprint("Name ", rand.Uint32()), Email: "new@example.org"})
	if err != nil {
		d.fail(err)
		return
	}
	began := time.Now()
	u, ok := d.send(ctx, p, http.MethodPut, id, body)
	if !ok {
		return
	}
	raise(&d.rows[id].acked, u.Version)
	time.AfterFunc(d.cfg.bound, func() { raise(&d.rows[id].settled, u.Version) })
	if d.puts.Add(1)%follows == 0 {
		d.follow(ctx, id, u.Version, began)
	}
}

// follow waits until every process answers with the version, or is down.
func (d *traffic) follow(ctx context.Context, id int, version int64, began time.Time) {
	for _, p := range d.processes {
		for {
			down := p.down.Load()
			u, ok := d.send(ctx, p, http.MethodGet, id, nil)
			if ok && u.Version >= version {
				break
			}
			if !ok && (ctx.Err() != nil || p.down.Load() != down || down%2 == 1) {
				return // this write cannot be followed to the end
			}
			if time.Since(began) > d.cfg.bound {
				d.notSeen.Add(1)
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hops = append(d.hops, time.Since(began))
}

// send sends one request. A failure while the process was down, or went down,
// is what a kill does to clients; any other is a failure of the fleet.
func (d *traffic) send(ctx context.Context, p *process, method string, id int, body []byte) (u user, ok bool) {
	down := p.down.Load()
	err := d.exchange(ctx, p, method, fmt.Sprintf("/users/%d", id), body, &u)
	switch {
	case err == nil:
		return u, true
	case ctx.Err() != nil:
	case down%2 == 1 || p.down.Load() != down:
		d.cutOff.Add(1)
		time.Sleep(time.Millisecond) // as clients back off
	default:
		d.fail(err)
	}
	return u, false
}

func (d *traffic) exchange(ctx context.Context, p *process, method, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+*p.addr.Load()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return json.Unmarshal(data, answer)
}

func (d *traffic) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures = append(d.failures, err)
}

// remember adds up what a process tells of itself.
func (d *traffic) remember(ctx context.Context, p *process) {
	var c counts
	if err := d.exchange(ctx, p, http.MethodGet, "/stats", nil, &c); err != nil {
		d.fail(err)
		return
	}
	d.seen.Reads += c.Reads
	d.seen.NearHits += c.NearHits
	d.seen.Queries += c.Queries
	d.seen.Loads += c.Loads
}

func raise(v *atomic.Int64, to int64) {
	for old := v.Load(); old < to; old = v.Load() {
		if v.CompareAndSwap(old, to) {
			return
		}
	}
}

// quantiles returns the median, the 99th percentile and the longest.
func quantiles(times []time.Duration) (p50, p99, longest time.Duration) {
	if len(times) == 0 {
		return 0, 0, 0
	}
	slices.Sort(times)
	at := func(q float64) time.Duration { return times[int(q*float64(len(times)-1))].Round(10 * time.Microsecond) }
	return at(0.5), at(0.99), at(1)
}
