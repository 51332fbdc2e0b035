package integration_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const library = "github.com/nearbus/nearbus/"

// heavy are the modules that a user should link only when asking for them.
var heavy = []string{
	"github.com/bradfitz/gomemcache/",
	"github.com/dgraph-io/ristretto/",
	"github.com/fxamacker/cbor/",
	"github.com/klauspost/compress/zstd", // nats.go needs another part of it
	"github.com/nats-io/nats.go",
	"github.com/redis/go-redis/",
	"google.golang.org/protobuf/",
}

// heavyOf says which of them a package of the library needs; those not named
// need none.
var heavyOf = map[string]string{
	"bus/natsbus":                  "github.com/nats-io/nats.go",
	"bus/redisbus":                 "github.com/redis/go-redis/",
	"nearcache":                    "github.com/dgraph-io/ristretto/",
	"nearcache/internal/coherence": "github.com/dgraph-io/ristretto/",
	"nearcache/internal/near":      "github.com/dgraph-io/ristretto/",
	"nearcache/nearcachetest":      "github.com/dgraph-io/ristretto/",
	"nearcache/nearredis":          "github.com/dgraph-io/ristretto/ github.com/redis/go-redis/",
	"nearcache/neardebug":          "github.com/dgraph-io/ristretto/",
	"nearcache/nearhttp":           "github.com/dgraph-io/ristretto/",
	"nearcache/nearsql":            "github.com/dgraph-io/ristretto/",
	"shared/cborcodec":             "github.com/fxamacker/cbor/",
	"shared/compress":              "github.com/klauspost/compress/zstd",
	"shared/memcachestore":         "github.com/bradfitz/gomemcache/",
	"shared/protocodec":            "google.golang.org/protobuf/",
	"shared/redisstore":            "github.com/redis/go-redis/",
}

// goPackage is what go list tells about a package.
type goPackage struct {
	ImportPath, Name, Dir              string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Deps                               []string
}

// libraryPackages lists the packages of the module above this one.
func libraryPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	require.NoError(t, err)
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
	require.NotEmpty(t, packages)
	return packages
}

func TestArchitecture_APackageNeedsNoMoreThanItsOwnClient(t *testing.T) {
	t.Parallel()
	for _, p := range libraryPackages(t) {
		if p.ofProgram() {
			continue
		}
		var want []string
		if own := heavyOf[strings.TrimPrefix(p.ImportPath, library)]; own != "" {
			want = strings.Fields(own)
		}
		assert.Equal(t, want, p.heavyDeps(), p.ImportPath)
	}
}

// ofProgram reports whether nobody but a program of the repository imports p.
func (p goPackage) ofProgram() bool {
	return p.Name == "main" || strings.HasPrefix(p.ImportPath, library+"examples/")
}

func (p goPackage) heavyDeps() []string {
	var needed []string
	for _, module := range heavy {
		if slices.ContainsFunc(p.Deps, func(dep string) bool { return strings.HasPrefix(dep, module) }) {
			needed = append(needed, module)
		}
	}
	return needed
}

func TestArchitecture_APackageHasOneComment(t *testing.T) {
	t.Parallel()
	for _, p := range libraryPackages(t) {
		var commented []string
		for _, file := range p.GoFiles {
			if p.parse(t, file, parser.PackageClauseOnly).Doc != nil {
				commented = append(commented, file)
			}
		}
		assert.Len(t, commented, 1, p.ImportPath)
	}
}

func (p goPackage) parse(t *testing.T, file string, mode parser.Mode) *ast.File {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, mode|parser.ParseComments)
	require.NoError(t, err)
	return parsed
}

func TestArchitecture_APublicPackageHasAnExample(t *testing.T) {
	t.Parallel()
	for _, p := range libraryPackages(t) {
		if p.ofProgram() || strings.Contains(p.ImportPath, "/internal/") {
			continue
		}
		var examples []string
		for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			for _, e := range doc.Examples(p.parse(t, file, 0)) {
				examples = append(examples, e.Name)
			}
		}
		assert.NotEmpty(t, examples, p.ImportPath)
	}
}
