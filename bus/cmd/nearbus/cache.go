package main

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/nearbus/nearbus/bus"
	"github.com/nearbus/nearbus/shared"
)

// What caches may be called, and how long a tag may be.
var cacheName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

const maxTagSize = 256

// checkCache refuses what can be the name of no cache.
func checkCache(name string) error {
	if !cacheName.MatchString(name) {
		return usagef("CACHE is %s: want 1 to 64 of A-Z a-z 0-9 . _ - and no punctuation in front", word(start(name)))
	}
	return nil
}

// checkKey refuses what can be no key of a cache.
func checkKey(cache, key string) error {
	if most := shared.MaxKeySize - len(cache) - 1; key == "" || len(key) > most {
		return usagef("KEY is %s, of %s: in cache %s a key has 1 to %d", word(start(key)), plural(len(key), "byte"), word(cache), most)
	}
	return nil
}

// checkTag refuses what can be no tag.
func checkTag(tag string) error {
	if tag == "" || len(tag) > maxTagSize {
		return usagef("TAG is %s, of %s: a tag has 1 to %d", word(start(tag)), plural(len(tag), "byte"), maxTagSize)
	}
	return nil
}

// start returns as much of an argument as an error has.
func start(text string) string { return text[:min(len(text), 64)] }

// cachesOf returns the names of the caches that servers have, as far as they tell.
func cachesOf(options map[uint64][]bus.Setting) (names []string) {
	for _, settings := range options {
		for _, s := range settings {
			if s.Cache != "!node" {
				names = append(names, s.Cache)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// hasCache reports whether a cache may be among those that servers have: if they tell of none,
// nobody knows.
func hasCache(names []string, cache string) bool {
	return len(names) == 0 || slices.Contains(names, cache)
}

// noCache says that no server has a cache, and what caches there are, those of similar names first.
func noCache(names []string, cache string) string {
	slices.SortStableFunc(names, func(a, b string) int { return distance(a, cache) - distance(b, cache) })
	return fmt.Sprintf("no server has a cache %s; they have %s", word(cache), few(names))
}

// distance is how many letters have to be added, removed or changed to have b in place of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
