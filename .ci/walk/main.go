// Command walk measures how far a reader of the source has to go who follows one function
// to the end:
//
//	go run ./.ci/walk [-tags LIST] [-v] [PACKAGE FUNCTION...]
//
// The default is what a user of the cache calls, and what takes in a message. A function
// is named as in a stack trace, without the package: Cache.Fetch.
//
// The call graph is that of the type checker. A function calls each function of this
// module that its body names, in the order of the source; what a function literal names
// belongs to the function around it. A call of a method of an interface ends there, since
// the source does not tell who answers it, and so does a call of a function value.
//
// The walk reads a function from top to bottom. At a call of a function of the same
// package that it has not read yet, it goes to that function, reads it in the same way,
// and goes on behind the call. A function is read once. A function of another package is
// not read: its name stands for it.
//
// A stay is a row of functions of one file that the walk comes to one after the other. A
// return is a stay in a file that the walk has left before.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	path     = "github.com/nearbus/nearbus/nearcache"
	pathNews = path + "/internal/coherence"
)

// starts are the functions that are measured by default.
var starts = []string{"Cache.Fetch", "Cache.FetchMany", "Cache.Get", "Cache.Read", "Cache.Set"}

func main() {
	tags := flag.String("tags", "", "build tags")
	verbose := flag.Bool("v", false, "print the functions in the order of the walk")
	flag.Parse()
	pkg, names := path, starts
	if flag.NArg() > 0 {
		pkg, names = flag.Arg(0), flag.Args()[1:]
	}
	g, err := load(*tags)
	if err == nil {
		err = report(os.Stdout, g, pkg, names, *verbose)
	}
	if err == nil && flag.NArg() == 0 {
		err = report(os.Stdout, g, pathNews, []string{"Keyspace.apply"}, *verbose)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "walk:", err)
		os.Exit(1)
	}
}

func report(to io.Writer, g graph, pkg string, names []string, verbose bool) error {
	fmt.Fprintf(to, "%-20s %9s %5s %5s %7s   %s\n", "from", "functions", "files", "stays", "returns", "functions of the module")
	for _, name := range names {
		start := pkg + "." + name
		if g[start] == nil {
			return fmt.Errorf("there is no function %s", start)
		}
		w := walk{graph: g, only: pkg}
		w.read(start)
		all := walk{graph: g}
		all.read(start)
		fmt.Fprintf(to, "%-20s %9d %5d %5d %7d   %d\n", name, len(w.order), w.files(), len(w.stays), len(w.stays)-w.files(), len(all.order))
		if verbose {
			w.print(to)
		}
	}
	return nil
}

// graph has the functions of the module by name.
type graph map[string]*function

type function struct {
	name, pkg, file string
	calls           []string // in the order of the source
}

// walk is a way through the functions of a package, or of all if only is empty.
type walk struct {
	graph graph
	only  string

	seen  map[string]bool
	order []*function
	stays []string // the files, in the order of the walk
}

func (w *walk) read(name string) {
	f := w.graph[name]
	if f == nil || w.seen[name] || w.only != "" && f.pkg != w.only {
		return
	}
	if w.seen == nil {
		w.seen = map[string]bool{}
	}
	w.seen[name] = true
	w.order = append(w.order, f)
	if n := len(w.stays); n == 0 || w.stays[n-1] != f.file {
		w.stays = append(w.stays, f.file)
	}
	for _, call := range f.calls {
		w.read(call)
	}
}

// files returns how many files the walk comes to.
func (w *walk) files() int {
	return len(slices.Compact(slices.Sorted(slices.Values(w.stays))))
}

// print prints the functions of the walk, a line for each stay.
func (w *walk) print(to io.Writer) {
	left := map[string]bool{}
	for i, f := range w.order {
		if i > 0 && w.order[i-1].file != f.file {
			left[w.order[i-1].file] = true
			fmt.Fprintln(to)
		}
		if i == 0 || w.order[i-1].file != f.file {
			mark := " "
			if left[f.file] {
				mark = "*"
			}
			fmt.Fprintf(to, "  %s %-16s", mark, filepath.Base(f.file))
		}
		fmt.Fprint(to, " ", strings.TrimPrefix(f.name, f.pkg+"."))
	}
	fmt.Fprintln(to)
}

// listed is what the go command tells of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	ImportMap               map[string]string
	Module                  *struct{ Main bool }
}

// load checks the packages of the module in this directory.
func load(tags string) (graph, error) {
	list := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,ImportMap,Module", "-tags", tags, "./...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports, ours := map[string]string{}, []listed{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main {
			ours = append(ours, p)
		}
	}
	fset := token.NewFileSet()
	from := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	g := graph{}
	for i := range ours {
		if err := g.add(fset, from, &ours[i]); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// add adds the functions of a package.
func (g graph) add(fset *token.FileSet, from types.Importer, p *listed) error {
	files := make([]*ast.File, len(p.GoFiles))
	for i, name := range p.GoFiles {
		var err error
		if files[i], err = parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution); err != nil {
			return err
		}
	}
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: from}
	if _, err := conf.Check(p.ImportPath, fset, files, info); err != nil {
		return err
	}
	for i, file := range files {
		for _, d := range file.Decls {
			if decl, ok := d.(*ast.FuncDecl); ok && decl.Body != nil {
				f := &function{name: nameOf(info.Defs[decl.Name].(*types.Func)), pkg: p.ImportPath, file: filepath.Join(p.Dir, p.GoFiles[i])}
				f.calls = callsIn(decl.Body, info)
				g[f.name] = f
			}
		}
	}
	return nil
}

// callsIn returns the functions that a body names, in the order of the source.
func callsIn(body *ast.BlockStmt, info *types.Info) (calls []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if callee, ok := info.Uses[id].(*types.Func); ok && callee.Pkg() != nil {
				calls = append(calls, nameOf(callee))
			}
		}
		return true
	})
	return calls
}

// nameOf returns the package, the type if there is one, and the name of f.
func nameOf(f *types.Func) string {
	f = f.Origin()
	prefix := ""
	if recv := f.Signature().Recv(); recv != nil {
		t := recv.Type()
		if p, ok := t.(*types.Pointer); ok {
			t = p.Elem()
		}
		if named, ok := t.(*types.Named); ok {
			prefix = named.Obj().Name() + "."
		} else {
			prefix = cmp.Or(t.String(), "?") + "."
		}
	}
	return f.Pkg().Path() + "." + prefix + f.Name()
}
