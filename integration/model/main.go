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
	only := flag.String("only", "", "the model to search, by the name of its file without .pml; all if empty")
	off := flag.String("off", "", "the rule to leave out, which is all that is searched then")
	root := flag.String("root", "", "the repository, whose tables of rules are checked, and whose docs/models.md is written if no rule is given")
	small := flag.Bool("small", false, "search small sizes only")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := searchAll(ctx, os.Stdout, plan{only: *only, off: *off, full: !*small}, *root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// searchAll searches the models, and prints a row for each search.
func searchAll(ctx context.Context, w io.Writer, p plan, root string) error {
	models, err := readModels(files)
	if err != nil {
		return err
	}
	var errs []error
	var all []*result
	printHead(w)
	for _, m := range models {
		if p.only != "" && m.name != p.only && m.file != p.only+".pml" {
			continue
		}
		results, err := m.searchAll(ctx, w, p)
		all = append(all, results...)
		errs = append(errs, err)
	}
	if len(all) == 0 {
		errs = append(errs, p.unknown(models))
	}
	if root != "" {
		errs = append(errs, checkRules(root, models))
	}
	if err := errors.Join(errs...); err != nil || root == "" || p.off != "" {
		return err
	}
	return writeFound(filepath.Join(root, "docs", "models.md"), models, all)
}

func (m *model) searchAll(ctx context.Context, w io.Writer, p plan) (all []*result, err error) {
	var errs []error
	if p.off == "" {
		for _, s := range m.proofs(p.full) {
			r, err := s.prove(ctx)
			errs = append(errs, err)
			if r != nil {
				all = append(all, r)
				printRow(w, r)
			}
		}
		if p.full {
			errs = append(errs, m.unexplained(all))
		}
	}
	for _, left := range m.rules {
		if p.off != "" && p.off != left.name {
			continue
		}
		results, err := m.without(ctx, left, p)
		errs = append(errs, err)
		all = append(all, results...)
		for _, r := range results {
			printRow(w, r)
		}
		if p.off != "" && len(results) > 0 {
			fmt.Fprintln(w, strings.Join(results[len(results)-1].steps, "\n"))
		}
	}
	return all, errors.Join(errs...)
}
