package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// library knows the types of the packages that have mutants.
type library struct {
	packages map[string]*loaded // by directory below the root

	mu       sync.Mutex // held while a package is checked, since importers are for one goroutine
	files    *token.FileSet
	importer types.Importer
}

// loaded is one of these packages as it is.
type loaded struct {
	name, path string
	base       *token.FileSet
	sources    map[string][]byte // by name of the file
	files      map[string]*ast.File
	types      map[token.Pos]types.Type // of whole numbers
}

// listed is what the go command says of a package.
type listed struct {
	ImportPath, Export, Dir, Name string
	GoFiles                       []string
}

// load loads the packages in some directories below a root.
func load(ctx context.Context, root string, dirs []string) (*library, error) {
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export,Dir,Name,GoFiles"}
	for _, dir := range dirs {
		args = append(args, "./"+dir)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env, cmd.Stderr = root, append(os.Environ(), "GOWORK=off"), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	l := &library{packages: make(map[string]*loaded), files: token.NewFileSet()}
	exports := make(map[string]string)
	l.importer = importer.ForCompiler(l.files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var ours []listed
	for stream := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := stream.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
		if dir, err := filepath.Rel(root, p.Dir); err == nil && slices.Contains(dirs, dir) {
			ours = append(ours, p)
		}
	}
	for i := range ours {
		p, err := l.read(&ours[i])
		if err != nil {
			return nil, err
		}
		dir, _ := filepath.Rel(root, ours[i].Dir)
		l.packages[dir] = p
	}
	return l, nil
}

// read reads a package, and notes the types of its numbers.
func (l *library) read(of *listed) (*loaded, error) {
	p := &loaded{
		name: of.Name, path: of.ImportPath, base: l.files,
		sources: make(map[string][]byte), files: make(map[string]*ast.File), types: make(map[token.Pos]types.Type),
	}
	for _, name := range of.GoFiles {
		source, err := os.ReadFile(filepath.Join(of.Dir, name))
		if err != nil {
			return nil, err
		}
		p.sources[name] = source
		if p.files[name], err = parser.ParseFile(l.files, name, source, parser.SkipObjectResolution); err != nil {
			return nil, err
		}
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}
	if err := l.check(p, p.files, info); err != nil {
		return nil, err
	}
	for e, of := range info.Types {
		if of.Value != nil && !untyped(of.Type) {
			p.note(e, of.Type, info)
		}
	}
	return p, nil
}

func untyped(t types.Type) bool {
	b, ok := t.(*types.Basic)
	return ok && b.Info()&types.IsUntyped != 0
}

// note notes the type of the numbers that a constant is made of. Those that have none by
// themselves have that of the whole.
func (p *loaded) note(e ast.Expr, whole types.Type, info *types.Info) {
	if t := info.Types[e].Type; t != whole && !untyped(t) {
		return
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		p.types[e.Pos()] = whole
	case *ast.ParenExpr:
		p.note(e.X, whole, info)
	case *ast.UnaryExpr:
		p.note(e.X, whole, info)
	case *ast.BinaryExpr:
		p.note(e.X, whole, info)
		if e.Op != token.SHL && e.Op != token.SHR {
			p.note(e.Y, whole, info)
		}
	}
}

func (l *library) check(p *loaded, files map[string]*ast.File, info *types.Info) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	config := types.Config{Importer: l.importer}
	_, err := config.Check(p.path, l.files, slices.Collect(maps.Values(files)), info)
	return err
}

// compiles says why a mutant does not compile, in its own package.
func (l *library) compiles(m *mutant) error {
	if filepath.Ext(m.File) != ".go" {
		return nil
	}
	p, name := l.packages[filepath.Dir(m.File)], filepath.Base(m.File)
	changed, err := parser.ParseFile(l.files, name, m.apply(p.sources[name]), parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	files := maps.Clone(p.files)
	files[name] = changed
	return l.check(p, files, nil)
}

// offset says where in a file a position is.
func (p *loaded) offset(name string, at token.Pos) int {
	return int(at - p.files[name].FileStart)
}

// typeAt returns the type of the number at an offset of a file, as that file can name it
// once it imports what is noted in used.
func (p *loaded) typeAt(name string, offset int, used map[string]bool) string {
	t := p.types[p.files[name].FileStart+token.Pos(offset)]
	if t == nil {
		return "int" // how far to shift
	}
	return types.TypeString(t, func(other *types.Package) string {
		if other.Path() == p.path {
			return ""
		}
		used[other.Path()] = true
		return alias(other.Path())
	})
}

// alias is the name by which a file imports a package for a type.
func alias(path string) string {
	return "mutant_" + strings.Map(func(r rune) rune {
		if strings.ContainsRune("/.-", r) {
			return '_'
		}
		return r
	}, path)
}
