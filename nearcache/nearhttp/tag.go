package nearhttp

import (
	"context"
	"slices"
	"sync"
)

// maxTags is one more than nearcache takes for a value, so that it is noticed.
const maxTags = 65

// Tag gives the page that is being made tags, to be called by its handler with the context of
// the request, as often as it likes: see nearcache.Entry.Tags for what a tag may be. With more
// than 63 tags, or an invalid one, the page is not stored, and counted in
// nearcache.Stats.Values. Where no page is made that may be stored, Tag does nothing. It may
// be called from many goroutines, until the handler returns.
func Tag(ctx context.Context, tags ...string) {
	if set, ok := ctx.Value(tagsKey{}).(*tagSet); ok {
		set.add(tags)
	}
}

type tagsKey struct{}

// tagSet is the tags of a page that is being made.
type tagSet struct {
	mu   sync.Mutex // protects tags
	tags []string   // without repetitions
}

func (s *tagSet) add(tags []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tag := range tags {
		if len(s.tags) < maxTags && !slices.Contains(s.tags, tag) {
			s.tags = append(s.tags, tag)
		}
	}
}

func (s *tagSet) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tags)
}
