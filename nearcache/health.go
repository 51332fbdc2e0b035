package nearcache

import (
	"encoding/json"
	"fmt"
	"time"
)

// busCut is what a node without a journal cannot do without.
const busCut = "the bus is not heard"

// distrust says why h is not trusted; empty if it is.
func (n *Node) distrust(h *Health) string {
	switch {
	case h.Trusted:
		return ""
	case n.ctx.Err() != nil:
		return "the node is closed"
	case h.Mismatch != "":
		return h.Mismatch
	case n.repairs == nil:
		return busCut
	case n.near.Horizon() <= 0:
		return "the journal was not read yet"
	}
	return fmt.Sprintf("the journal was not read for %v", rounded(h.Behind))
}

// rounded returns d as people read it.
func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// String returns a short text for logs and probes: whether the node is trusted, why if
// it is not, and what else is amiss.
func (h Health) String() string {
	text := "trusted"
	if !h.Trusted {
		text = "not trusted"
		if h.why != "" {
			text += ": " + h.why
		}
	}
	if h.Journal != nil {
		text += "; " + h.Journal.Error()
	}
	if behind := rounded(h.Behind); behind > 0 {
		text += fmt.Sprintf("; %v behind", behind)
	}
	if h.BusCut && h.why != busCut {
		text += "; " + busCut
	}
	if h.Mismatch != "" && h.why != h.Mismatch {
		text += "; " + h.Mismatch
	}
	if h.Owed > 0 {
		text += fmt.Sprintf("; invalidations owed: %d", h.Owed)
	}
	return text
}

// MarshalJSON returns the fields under names that begin in lower case: behind as a text,
// such as "1.5s", mismatch and journal, the text of the error, or null. With them is why,
// which is null if the node is trusted.
func (h Health) MarshalJSON() ([]byte, error) {
	form := struct {
		Trusted bool    `json:"trusted"`
		Why     *string `json:"why"`
		Behind  string  `json:"behind"`
		BusCut  bool    `json:"busCut"`
		Owed    int     `json:"owed"`
		Journal *string `json:"journal"`

		Mismatch *string `json:"mismatch"`
	}{Trusted: h.Trusted, Behind: rounded(h.Behind).String(), BusCut: h.BusCut, Owed: h.Owed}
	if h.why != "" {
		form.Why = &h.why
	}
	if h.Mismatch != "" {
		form.Mismatch = &h.Mismatch
	}
	if h.Journal != nil {
		text := h.Journal.Error()
		form.Journal = &text
	}
	return json.Marshal(form)
}
