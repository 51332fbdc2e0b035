package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// workshop builds programs with mutants in them.
type workshop struct {
	root    string
	dir     string // where everything is that it writes
	library *library

	mu     sync.Mutex // protects shared
	shared map[suite]*program
}

// program is that of the tests of a package.
type program struct {
	once   sync.Once // for what is below
	file   string
	failed *ended // the build
	err    error
}

// newWorkshop opens one for the packages of all mutants, to be closed.
func newWorkshop(ctx context.Context, root string, all []mutant) (w *workshop, err error) {
	w = &workshop{root: root, shared: make(map[suite]*program)}
	if w.library, err = load(ctx, root, dirsOf(all)); err != nil {
		return nil, err
	}
	replace, err := schemata(w.library, all)
	if err != nil {
		return nil, err
	}
	if w.dir, err = os.MkdirTemp("", "mutate-"); err != nil {
		return nil, err
	}
	return w, overlay(root, w.dir, replace)
}

func (w *workshop) close() error { return os.RemoveAll(w.dir) }

// all returns the program of a package with all mutants that share one.
func (w *workshop) all(ctx context.Context, of suite) (*program, error) {
	of.run = ""
	w.mu.Lock()
	p := w.shared[of]
	if p == nil {
		p = &program{}
		w.shared[of] = p
	}
	name := "program-" + strconv.Itoa(len(w.shared)) + ".test"
	w.mu.Unlock()
	p.once.Do(func() { p.build(ctx, w.root, w.dir, name, of) })
	return p, p.err
}

// alone returns the program of a package with one mutant, in a directory of its own.
func (w *workshop) alone(ctx context.Context, dir string, m *mutant, of suite) (*program, error) {
	source, err := os.ReadFile(filepath.Join(w.root, m.File))
	if err != nil {
		return nil, err
	}
	if err := overlay(w.root, dir, map[string][]byte{m.File: m.apply(source)}); err != nil {
		return nil, err
	}
	p := &program{}
	p.build(ctx, w.root, dir, "program.test", of)
	return p, p.err
}

const overlayName = "overlay.json"

// overlay writes files, and has the go command read them in the place of those of the
// repository.
func overlay(root, dir string, files map[string][]byte) error {
	replace := make(map[string]string)
	for name, text := range files {
		file := filepath.Join(dir, strconv.Itoa(len(replace))+filepath.Ext(name))
		replace[filepath.Join(root, name)] = file
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, overlayName), text, 0o600)
}

// buildLimit is how long a build may take.
const buildLimit = 10 * time.Minute

func (p *program) build(ctx context.Context, root, dir, name string, of suite) {
	p.file = filepath.Join(dir, name)
	e, err := run(ctx, buildLimit, filepath.Join(root, of.module), nil,
		"go", "test", "-c", "-ldflags=-s -w", "-overlay", filepath.Join(dir, overlayName), "-o", p.file, of.pkg)
	if p.err = err; e.failed {
		p.failed = &e
	}
}
