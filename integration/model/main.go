package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	only := flag.String("only", "", "the model to search; all if empty")
	off := flag.String("off", "", "the rule to leave out, which is all that is searched then")
	root := flag.String("root", "", "the repository, whose tables of rules are checked, and whose docs/models.md is written if all is searched")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := searchAll(ctx, os.Stdout, *only, *off, *root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// searchAll searches the models, and prints a row for each search.
func searchAll(ctx context.Context, w io.Writer, only, off, root string) error {
	models, err := readModels(files)
	if err != nil {
		return err
	}
	var errs []error
	var all []*result
	printHead(w)
	for _, m := range models {
		if only != "" && m.name != only && m.file != only+".pml" {
			continue
		}
		results, err := m.searchAll(ctx, w, off)
		all = append(all, results...)
		errs = append(errs, err)
	}
	if len(all) == 0 {
		errs = append(errs, fmt.Errorf("there is no model %q, or no rule %q in it", only, off))
	}
	if root != "" {
		errs = append(errs, checkRules(root, models))
	}
	if err := errors.Join(errs...); err != nil || root == "" || only != "" || off != "" {
		return err
	}
	return writeFound(filepath.Join(root, "docs", "models.md"), models, all)
}

func (m *model) searchAll(ctx context.Context, w io.Writer, off string) (all []*result, err error) {
	var errs []error
	if off == "" {
		for _, s := range m.proofs(true) {
			r, err := s.prove(ctx)
			errs = append(errs, err)
			if r != nil {
				all = append(all, r)
				printRow(w, r)
			}
		}
		errs = append(errs, m.unexplained(all))
	}
	for _, left := range m.rules {
		if off != "" && off != left.name {
			continue
		}
		results, err := m.without(ctx, left, true)
		errs = append(errs, err)
		all = append(all, results...)
		for _, r := range results {
			printRow(w, r)
		}
		if off != "" && len(results) > 0 {
			fmt.Fprintln(w, strings.Join(results[len(results)-1].steps, "\n"))
		}
	}
	return all, errors.Join(errs...)
}
