package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
)

// results are verdicts, kept in a file with a line for each as they come.
type results struct {
	mu   sync.Mutex // protects the fields below
	done map[id]*result
	file *os.File // nil: they are kept in memory only
}

// openResults reads what an earlier run left in a file, if it judged in this manner. The name
// is empty for none.
func openResults(name, manner string) (*results, error) {
	r := &results{done: make(map[id]*result)}
	if name == "" {
		return r, nil
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	r.file = file
	for lines := json.NewDecoder(file); ; {
		one := &result{}
		if err := lines.Decode(one); errors.Is(err, io.EOF) {
			return r, nil
		} else if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if one.Manner == manner {
			r.done[one.id] = one
		}
	}
}

// has reports whether there is a verdict on a mutant.
func (r *results) has(m id) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done[m] != nil
}

// add takes in a verdict.
func (r *results) add(one *result) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done[one.id] = one
	if r.file == nil {
		return nil
	}
	return json.NewEncoder(r.file).Encode(one)
}

func (r *results) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// of returns the verdicts on mutants, as far as there are any.
func (r *results) of(mutants []mutant) (all []*result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range mutants {
		if one := r.done[mutants[i].id]; one != nil {
			all = append(all, one)
		}
	}
	return all
}
