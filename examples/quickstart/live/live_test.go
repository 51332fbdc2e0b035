package live

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bubble runs a test on a demo in which only the test writes, and all is well at first.
func bubble(t *testing.T, test func(t *testing.T, d *Demo)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, err := New()
		require.NoError(t, err)
		defer d.Close()
		require.NoError(t, d.Switch("rest", 0, true))
		time.Sleep(time.Second)
		test(t, d)
	})
}

// writeAll writes every record once through a server.
func (d *Demo) writeAll(t *testing.T, server int) {
	t.Helper()
	for key := range keys {
		require.NoError(t, d.Write(server, key))
		time.Sleep(time.Millisecond)
	}
}

// TestDemo_Well: with nothing broken, both caches answer with every write at once.
func TestDemo_Well(t *testing.T) {
	bubble(t, func(t *testing.T, d *Demo) {
		d.writeAll(t, 0)
		time.Sleep(3 * time.Second)
		snap := d.Snapshot()
		for _, side := range snap.Sides {
			assert.Zero(t, side.Stale)
			assert.Greater(t, side.Answers, int64(1000))
			for server := range servers {
				assert.Equal(t, snap.Database, side.Versions[server])
			}
			assert.Equal(t, int64(keys), sum(side.Times[:9]), "every write was followed to its end: %v", side.Times)
		}
	})
}

func sum(counts []int64) (all int64) {
	for _, n := range counts {
		all += n
	}
	return all
}

// TestDemo_Faults: under each fault nearbus gives no answer that is older than the bound, and has
// every write once all is healed. The usual cache keeps old copies. (With a store that does not
// answer no write is acknowledged, so that no answer counts as old.)
func TestDemo_Faults(t *testing.T) {
	for name, c := range map[string]struct {
		fault  string
		server int
		writer int

		counted bool // answers of the usual cache that are older than the bound
		stays   bool // an old copy of the usual cache, when all is healed
	}{
		"another server cut":     {"cut", 1, 0, true, true},
		"the writing server cut": {"cut", 0, 0, true, true},
		"the bus stopped":        {"bus", 0, 0, true, true},
		"the store stalled":      {"store", 0, 0, false, true},
		"a server paused":        {"pause", 1, 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, d *Demo) {
				require.NoError(t, d.Switch(c.fault, c.server, true))
				time.Sleep(time.Second)
				d.writeAll(t, c.writer)
				time.Sleep(4 * time.Second)
				assert.Equal(t, c.counted, d.Snapshot().Sides[1].Stale > 0)
				d.Heal()
				time.Sleep(4 * time.Second)
				snap := d.Snapshot()
				assert.Zero(t, snap.Sides[0].Stale)
				for server := range servers {
					assert.Equal(t, snap.Database, snap.Sides[0].Versions[server])
				}
				usual := snap.Sides[1].Versions
				assert.Equal(t, c.stays, usual[0] != snap.Database || usual[1] != snap.Database || usual[2] != snap.Database)
			})
		})
	}
}

// do presses a button of a demo, as a form.
func do(t *testing.T, h http.Handler, form string, headers ...string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/do", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// TestHandler_Forms: what is no button does nothing, nor does a page of another site.
func TestHandler_Forms(t *testing.T) {
	bubble(t, func(t *testing.T, d *Demo) {
		h := d.Handler()
		for form, status := range map[string]int{
			"what=cut&server=1&on=true":         http.StatusNoContent,
			"what=pause&server=2&on=true":       http.StatusNoContent,
			"what=bus&on=true":                  http.StatusNoContent,
			"what=store&on=true":                http.StatusNoContent,
			"what=write":                        http.StatusNoContent,
			"what=write&server=0&key=11":        http.StatusNoContent,
			"what=write&server=0&key=12":        http.StatusBadRequest,
			"what=write&server=-1&key=0":        http.StatusBadRequest,
			"what=write&server=x&key=0":         http.StatusBadRequest,
			"what=cut&server=3&on=true":         http.StatusBadRequest,
			"what=cut&on=true":                  http.StatusBadRequest,
			"what=format":                       http.StatusBadRequest,
			"":                                  http.StatusBadRequest,
			"%":                                 http.StatusBadRequest,
			"what=" + strings.Repeat("x", 2000): http.StatusBadRequest,
		} {
			assert.Equal(t, status, do(t, h, form), "%.40s", form)
		}
		assert.Equal(t, Faults{Cut: [servers]bool{1: true}, Paused: [servers]bool{2: true}, Bus: true, Store: true}, d.Snapshot().Faults)
		assert.Equal(t, http.StatusForbidden, do(t, h, "what=heal", "Sec-Fetch-Site", "cross-site"))
		assert.True(t, d.Snapshot().Bus)
		assert.Equal(t, http.StatusNoContent, do(t, h, "what=heal", "Sec-Fetch-Site", "same-origin"))
		assert.Equal(t, Faults{}, d.Snapshot().Faults)
	})
}

// TestHandler_Busy: writes that cannot begin are refused, and do not pile up.
func TestHandler_Busy(t *testing.T) {
	bubble(t, func(t *testing.T, d *Demo) {
		require.NoError(t, d.Switch("pause", 1, true))
		for range maxWrites {
			require.Equal(t, http.StatusNoContent, do(t, d.Handler(), "what=write&server=1&key=0"))
		}
		assert.Equal(t, http.StatusTooManyRequests, do(t, d.Handler(), "what=write&server=1&key=0"))
		d.Heal()
		time.Sleep(time.Second)
		assert.Equal(t, int64(1+maxWrites), d.Snapshot().Database[0])
	})
}

// TestServe: a program shows the page, and a stream of what happens, until it is told to end.
func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, "127.0.0.1:0", write) }() // ends with ctx
	line, err := bufio.NewReader(read).ReadString('\n')
	require.NoError(t, err)
	url := regexp.MustCompile(`http://\S+`).FindString(line)
	require.NotEmpty(t, url)
	page := get(t, url)
	assert.Equal(t, "text/html; charset=utf-8", page.Header.Get("Content-Type"))
	assert.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
	events := bufio.NewReader(get(t, url+"/events").Body)
	for range 3 {
		line, err := events.ReadString('\n')
		require.NoError(t, err)
		var snap Snapshot
		require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &snap))
		assert.Positive(t, snap.Database[0])
		_, err = events.ReadString('\n')
		require.NoError(t, err)
	}
	stop()
	require.NoError(t, <-ended)
}

func get(t *testing.T, url string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(t, http.StatusOK, response.StatusCode)
	return response
}

// TestServe_Address: an address that cannot be had is an error that names the flag.
func TestServe_Address(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	assert.ErrorContains(t, Serve(t.Context(), taken.Addr().String(), io.Discard), "-listen")
}
