package integration_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDocs_Locks: the page of internals has a row for each mutex of the library, and for
// no other.
func TestDocs_Locks(t *testing.T) {
	assertSame(t, internalsRows(t, "## Locks\n"), collect(t, locks), "mutex")
}

// TestDocs_Goroutines: the page of internals has a row for each function that starts a
// goroutine, a timer's included, and for no other.
func TestDocs_Goroutines(t *testing.T) {
	assertSame(t, internalsRows(t, "## Goroutines\n"), collect(t, starters), "goroutine")
}

func TestDocs_InternalsAreFound(t *testing.T) {
	const source = `package p
var global sync.Mutex
var pair struct{ a, b sync.Mutex }
type box[V any] struct {
	mu, other sync.RWMutex
	sync.Mutex
	inner struct{ deep *sync.Mutex }
	rows  []struct{ mu sync.Mutex }
	count int
}
func (b *box[V]) start() { go func() { group.Go(work) }() }
func helper() { time.AfterFunc(1, work); go work() }
func later() { context.AfterFunc(ctx, work) }
func none() { work() }
var hook = func() { go work() }
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"p.global", "p.pair.a", "p.pair.b", "p.box.mu", "p.box.other", "p.box.Mutex", "p.box.inner.deep", "p.box.rows.mu",
	}, locks(file))
	assert.Equal(t, []string{"p.start", "p.start", "p.helper", "p.helper", "p.later", "p.hook"}, starters(file))
}

func assertSame(t *testing.T, rows, found []string, what string) {
	t.Helper()
	for _, name := range found {
		assert.True(t, slices.Contains(rows, name), "the page has no row for the %s %s", what, name)
	}
	for _, name := range rows {
		assert.True(t, slices.Contains(found, name), "the page has a row for a %s that is not there: %s", what, name)
	}
}

// internalsRows returns the names in the first cells of the table under a heading.
func internalsRows(t *testing.T, heading string) (names []string) {
	t.Helper()
	page, err := os.ReadFile("../docs/design/internals.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), heading)
	require.True(t, found, heading)
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
				names = append(names, name[1])
			}
		}
	}
	require.NotEmpty(t, names)
	return names
}

// collect returns what find finds in the source of the library, without the suites.
func collect(t *testing.T, find func(*ast.File) []string) (names []string) {
	t.Helper()
	for _, root := range []string{"../nearcache", "../bus", "../shared"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				if err == nil && (strings.HasSuffix(path, "test") || entry.Name() == "cmd") {
					return fs.SkipDir // bustest and the like, and programs
				}
				return err
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				names = append(names, find(file)...)
			}
			return err
		}))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// locks returns the mutexes that a file declares, as package.type.field.
func locks(file *ast.File) (names []string) {
	for _, decl := range file.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, locksIn(spec.Type, file.Name.Name+"."+spec.Name.Name)...)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names = append(names, locksIn(spec.Type, file.Name.Name+"."+name.Name)...)
				}
			}
		}
	}
	return names
}

// locksIn returns the mutexes in a value of a type, which has a name.
func locksIn(kind ast.Expr, name string) (names []string) {
	switch kind := kind.(type) {
	case *ast.StarExpr:
		return locksIn(kind.X, name)
	case *ast.ArrayType:
		return locksIn(kind.Elt, name)
	case *ast.MapType:
		return locksIn(kind.Value, name)
	case *ast.SelectorExpr:
		if from, ok := kind.X.(*ast.Ident); ok && from.Name == "sync" && strings.HasSuffix(kind.Sel.Name, "Mutex") {
			return []string{name}
		}
	case *ast.StructType:
		for _, field := range kind.Fields.List {
			for _, fieldName := range field.Names {
				names = append(names, locksIn(field.Type, name+"."+fieldName.Name)...)
			}
			if embedded, ok := field.Type.(*ast.SelectorExpr); ok && field.Names == nil {
				names = append(names, locksIn(embedded, name+"."+embedded.Sel.Name)...)
			}
		}
	}
	return names
}

// starters returns the functions of a file that start goroutines, once for each place.
func starters(file *ast.File) (names []string) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			names = append(names, starts(decl, file.Name.Name+"."+decl.Name.Name)...)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if spec, ok := spec.(*ast.ValueSpec); ok {
					names = append(names, starts(spec, file.Name.Name+"."+spec.Names[0].Name)...)
				}
			}
		}
	}
	return names
}

// starts returns a name for each place below a node that starts a goroutine.
func starts(node ast.Node, name string) (names []string) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			names = append(names, name)
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Go" || f.Sel.Name == "AfterFunc") {
				names = append(names, name)
			}
		}
		return true
	})
	return names
}
