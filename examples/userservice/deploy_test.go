package main

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	compose "github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

// asks is how long a process may take to end: requests, then invalidations, then Close.
const asks = farewell + farewell + closeTimeout

// manifest is what a file for Kubernetes has, by name.
type manifest struct {
	deployments map[string]apps.Deployment
	services    map[string]core.Service
	claims      map[string]core.PersistentVolumeClaim
	budgets     map[string]policy.PodDisruptionBudget
}

// readManifest decodes a file. A field that its kind does not have fails the test.
func readManifest(t *testing.T, file string) manifest {
	t.Helper()
	m := manifest{
		map[string]apps.Deployment{},
		map[string]core.Service{},
		map[string]core.PersistentVolumeClaim{},
		map[string]policy.PodDisruptionBudget{},
	}
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	for doc := range bytes.SplitSeq(data, []byte("\n---\n")) {
		var head struct {
			Kind     string                `json:"kind"`
			Metadata struct{ Name string } `json:"metadata"`
		}
		require.NoError(t, yaml.Unmarshal(doc, &head))
		switch name := head.Metadata.Name; head.Kind {
		case "Deployment":
			decode(t, doc, name, m.deployments)
		case "Service":
			decode(t, doc, name, m.services)
		case "PersistentVolumeClaim":
			decode(t, doc, name, m.claims)
		case "PodDisruptionBudget":
			decode(t, doc, name, m.budgets)
		default:
			require.Fail(t, "unknown kind", head.Kind)
		}
	}
	return m
}

func decode[T any](t *testing.T, doc []byte, name string, into map[string]T) {
	t.Helper()
	var v T
	require.NoError(t, yaml.UnmarshalStrict(doc, &v), name)
	into[name] = v
}

// TestKubernetes: the manifest has only fields that there are, and fits the program: its
// paths, variables, ports and times.
func TestKubernetes(t *testing.T) {
	m := readManifest(t, "deploy/kubernetes.yaml")
	require.Contains(t, m.deployments, "userservice")
	for name, d := range m.deployments {
		labels := d.Spec.Template.Labels
		assert.Equal(t, d.Spec.Selector.MatchLabels, labels, name)
		require.Contains(t, m.services, name)
		assert.Equal(t, labels, m.services[name].Spec.Selector, name)
		for _, p := range m.services[name].Spec.Ports {
			assert.Contains(t, portsOf(d), p.TargetPort.StrVal, name)
		}
	}
	d := m.deployments["userservice"]
	assert.Equal(t, d.Spec.Selector, m.budgets["userservice"].Spec.Selector)
	pod := d.Spec.Template.Spec
	assert.Greater(t, time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second, asks)
	assert.Contains(t, m.claims, pod.Volumes[0].PersistentVolumeClaim.ClaimName)
	c := pod.Containers[0]
	for _, probe := range []*core.Probe{c.ReadinessProbe, c.LivenessProbe} {
		assert.Contains(t, portsOf(d), probe.HTTPGet.Port.StrVal)
		assert.True(t, isRoute(t, probe.HTTPGet.Path), probe.HTTPGet.Path)
	}
	env := make(map[string]string)
	for _, v := range c.Env {
		env[v.Name] = v.Value
	}
	checkEnv(t, env, c.Resources.Limits.Memory().Value())
	for name, u := range urls(t, env) {
		require.Contains(t, m.services, u.Hostname(), name)
		assert.Equal(t, u.Port(), strconv.Itoa(int(m.services[u.Hostname()].Spec.Ports[0].Port)), name)
	}
}

// TestCompose: likewise, the file for Docker Compose.
func TestCompose(t *testing.T) {
	data, err := os.ReadFile("deploy/compose.yaml")
	require.NoError(t, err)
	project, err := loader.LoadWithContext(t.Context(), compose.ConfigDetails{
		WorkingDir:  "deploy",
		ConfigFiles: []compose.ConfigFile{{Filename: "compose.yaml", Content: data}},
	})
	require.NoError(t, err)
	s := project.Services["userservice"]
	assert.Greater(t, time.Duration(*s.StopGracePeriod), asks)
	assert.FileExists(t, "../../"+s.Build.Dockerfile)
	env := make(map[string]string)
	for name, v := range s.Environment {
		env[name] = *v
	}
	checkEnv(t, env, int64(s.MemLimit))
	for name, u := range urls(t, env) {
		assert.Contains(t, s.DependsOn, u.Hostname(), name)
		assert.Contains(t, project.Services, u.Hostname(), name)
	}
}

// checkEnv checks that the program reads each variable, and that the heap's limit is below
// that of the process.
func checkEnv(t *testing.T, env map[string]string, memory int64) {
	t.Helper()
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	for name := range urls(t, env) {
		assert.Contains(t, string(source), `os.Getenv("`+name+`")`)
	}
	assert.Len(t, urls(t, env), 2, "Redis and NATS")
	heap, err := resource.ParseQuantity(strings.TrimSuffix(env["GOMEMLIMIT"], "B"))
	require.NoError(t, err)
	assert.Less(t, heap.Value(), memory)
}

// urls returns the variables that are URLs.
func urls(t *testing.T, env map[string]string) map[string]*url.URL {
	t.Helper()
	urls := make(map[string]*url.URL)
	for name, value := range env {
		if strings.HasSuffix(name, "_URL") {
			u, err := url.Parse(value)
			require.NoError(t, err)
			urls[name] = u
		}
	}
	return urls
}

func portsOf(d apps.Deployment) []string {
	var names []string
	for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
		names = append(names, p.Name)
	}
	return names
}

// isRoute tells whether the service answers on a path.
func isRoute(t *testing.T, path string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	require.NoError(t, err)
	_, pattern := (&service{metrics: http.NotFoundHandler()}).routes().(*http.ServeMux).Handler(r)
	return pattern != ""
}
