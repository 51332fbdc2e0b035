package neardebug

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/nearbus/nearbus/nearcache"
)

// state is what the page and the JSON show of a node.
type state struct {
	At       time.Time                   `json:"at"`
	Health   nearcache.Health            `json:"health"`
	Caches   []cacheState                `json:"caches"`
	Journals []nearcache.JournalPosition `json:"journals"`
	Peers    []peerState                 `json:"peers"`
	Numbers  map[string]float64          `json:"numbers"` // of the node, its shared tier and its bus, by the names of metrics
}

// cacheState is what is shown of a cache.
type cacheState struct {
	Name     string               `json:"name"`
	Type     string               `json:"type"`
	Entries  int64                `json:"entries"`
	Bytes    int64                `json:"bytes"`
	HitRatio float64              `json:"hitRatio"`
	Options  []option             `json:"options"`
	Numbers  map[string]float64   `json:"numbers"`
	Costly   nearcache.CostlyKeys `json:"costly"`

	Stats nearcache.Stats `json:"-"` // the same as Numbers, for the page
}

// option is one in force, as text.
type option struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// peerState is another server.
type peerState struct {
	Name        string    `json:"name"`
	Incarnation string    `json:"incarnation"`
	Heard       time.Time `json:"heard"`
	Silent      bool      `json:"silent"`
	Version     int       `json:"version"`           // of its protocol; 0: it does not tell
	Differs     string    `json:"differs,omitempty"` // in what it is not set up as this node
	Tier        string    `json:"tier,omitempty"`    // identity of its shared tier
	Options     string    `json:"options,omitempty"` // digest of its options
}

func stateOf(node *nearcache.Node) *state {
	s := &state{At: time.Now(), Health: node.Health(), Journals: node.Journals(), Numbers: map[string]float64{}}
	caches := map[string]*cacheState{}
	infos := node.Caches()
	s.Caches = make([]cacheState, len(infos))
	for i, c := range infos {
		s.Caches[i] = cacheState{
			Name: c.Name, Type: c.Type, Entries: c.Entries, Bytes: c.Bytes, HitRatio: c.Stats.NearHitRatio(),
			Options: optionsOf("", reflect.ValueOf(c.Settings)), Numbers: map[string]float64{}, Stats: c.Stats,
		}
		s.Caches[i].Costly, _ = node.CostlyKeys(c.Name) // no cache leaves a node
		caches[c.Name] = &s.Caches[i]
	}
	for _, m := range node.Metrics() {
		if c := caches[m.Cache]; c != nil {
			c.Numbers[m.Name] = m.Value
		} else if m.Cache == "" {
			s.Numbers[m.Name] = m.Value
		}
	}
	for _, p := range node.Peers() {
		s.Peers = append(s.Peers, peerState{
			Name: p.Node, Incarnation: hex(p.Incarnation), Heard: p.Heard, Silent: p.Silent, Version: p.Version,
			Differs: p.Differs, Tier: hex(p.About.Tier), Options: hex(p.About.Options),
		})
	}
	slices.SortFunc(s.Peers, func(a, b peerState) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	return s
}

func hex(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 16)
}

// optionsOf returns the fields of a struct as text, those of a struct in it as well.
func optionsOf(prefix string, of reflect.Value) (all []option) {
	for i := range of.NumField() {
		name, field := prefix+of.Type().Field(i).Name, of.Field(i)
		if field.Kind() == reflect.Struct {
			all = append(all, optionsOf(name+".", field)...)
			continue
		}
		all = append(all, option{name, fmt.Sprint(field.Interface())})
	}
	return all
}
