# What there is to do with this repository. `make` lists it.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Every directory with a go.mod, the library first.
MODULES := $(sort $(patsubst %/,%,$(dir $(shell find . -name go.mod -not -path './.*/*' -not -path '*/testdata/*'))))

# Takes mechanisms out of programs that are built with it, see nearcache/internal/fault.
FAULTS := nearbus_faults

# The packages of the library, without examples.
LIBRARY = $(shell go list ./nearcache/... ./bus/... ./shared/... | paste -sd, -)

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The modules that make test leaves to make test-all.
LATER_MODULES = ./examples/cdc ./examples/migrate

# The packages of integration that make test leaves to make test-all, with what is below them.
LATER = browser fleetcost model monitoring mutate outbox simulate
SPACE := $(subst ,, )
INTEGRATION = $(shell go -C integration list ./... | grep -vE '/integration/($(subst $(SPACE),|,$(LATER)))(/|$$)')

TESTFLAGS ?= -race -shuffle=on -parallel 4 -timeout 20m
FUZZTIME  ?= 30s
BENCH     ?= .
COUNT     ?= 1
SOAK      ?= 10m

.PHONY: help
help: ## List these commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run three nodes in one program; needs no server. With WEB=1, show a page on which they can be broken.
	@go run ./examples/quickstart $(if $(WEB),-web)

.PHONY: picture
picture: deps ## Take the picture of the README again, of that page.
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	NEARBUS_PICTURES=$$dir go -C integration test -count 1 -run '^TestLive$$' ./browser && cp "$$dir/live-cut.png" docs/images/live.png

.PHONY: fleet
fleet: deps-core ## Run the user service as several processes on real servers.
	@go -C examples/userservice run . -fleet

.PHONY: cdc
cdc: deps ## Edit rows by psql under a fleet, which hears of it by replication or by an outbox.
	@go -C examples/cdc run .

.PHONY: test
test: deps-core ## Run the tests of the core, of every module, with one case on each server.
	@for module in $(filter-out $(LATER_MODULES),$(MODULES)); do \
		go -C $$module vet -race ./...; go -C $$module vet -tags $(FAULTS) ./...; \
	done; echo "vet in $$SECONDS s"
	@go -C integration run ./testall -flags '$(TESTFLAGS)' $(abspath $(filter-out %integration $(LATER_MODULES),$(MODULES))) \
		'$(CURDIR)/integration,,$(INTEGRATION)' \
		'$(CURDIR)/integration,,./outbox,^TestOutbox_/^SQLite$$' \
		'$(CURDIR),$(FAULTS),./nearcache/...,^Test(G[0-9]|Hazard|Arrivals|Token|Barrier|Meter|Lookup|Tag|Sweep_(Nobody|Tag)|Fenced|Write|.*Off$$)' \
		'$(CURDIR)/integration,$(FAULTS),./checker,Without'

.PHONY: test-all
test-all: test deps ## Run these, and those of pages in Chromium, Prometheus, databases, models, simulated fleets and moves.
	@for module in $(LATER_MODULES); do go -C $$module vet -race ./...; done
	@go -C integration run ./testall -flags '$(TESTFLAGS)' $(abspath $(LATER_MODULES)) \
		'$(CURDIR)/integration,,$(LATER:%=./%/...)' \
		'$(CURDIR)/integration,$(FAULTS),./simulate,^TestFinds$$/^(clock|watermarks)$$'

.PHONY: builds
builds: ## Compile the library for other systems, and run its tests as 32-bit programs.
	@for system in {linux,darwin,windows}/{amd64,arm64} linux/arm freebsd/amd64; do \
		echo "build $$system"; CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} go build ./...; \
	done
	CGO_ENABLED=0 GOARCH=386 go test -timeout 20m ./...

.PHONY: vulnerabilities
vulnerabilities: ## Look for known vulnerabilities in what the modules call.
	@for module in $(MODULES); do echo "look into $$module"; go -C $$module run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...; done

.PHONY: check
check: tidied lint test ## Do what a change must pass: tidy, fixed, formatted, linted, tested.

.PHONY: tidied
tidied:
	@for module in $(MODULES); do go -C $$module mod tidy -diff; done
	@for module in $(MODULES); do \
		if ! go -C $$module fix -diff ./...; then \
			echo "run: go -C $$module fix ./..." >&2; exit 1; \
		fi; \
	done

.PHONY: lint
lint: ## Report what the linters and formatters find.
	@for module in $(MODULES); do echo "lint $$module"; (cd $$module && $(GOLANGCI_LINT) run ./...); done

.PHONY: fmt
fmt: ## Format all source files.
	@for module in $(MODULES); do (cd $$module && $(GOLANGCI_LINT) fmt ./...); done

.PHONY: tidy
tidy: ## Bring every go.mod in line with the source files.
	@for module in $(MODULES); do go -C $$module mod tidy; done

.PHONY: walk
walk: ## Measure how far a reader goes who follows a Fetch, a Set or an invalidation.
	@go run ./.ci/walk

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (30s).
	@grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed -E 's|/[^/]*:func | |' | \
	while read -r dir target; do \
		echo "fuzz $$dir $$target"; \
		go -C $$dir test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) . < /dev/null; \
	done

.PHONY: bench
bench: deps ## Run benchmarks that match BENCH (all), COUNT times (1); with BASE=rev, beside that revision.
ifneq ($(BASE),)
	@.ci/benchcmp '$(BASE)' '$(BENCH)' '$(COUNT)' $(MODULES)
else
	@for module in $(MODULES); do \
		go -C $$module test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...; \
	done
endif

.PHONY: checker
checker: deps-core ## Break servers and processes (FAULT=name,... LONG=1 STRICT=1 AGAINST=naive,rueidis,go-redis OFF=journal,... FEATURES=1 SEED=n).
	@go -C integration run $(if $(OFF),-tags $(FAULTS)) ./checker -fault '$(FAULT)' -against '$(AGAINST)' -off '$(OFF)' \
		-long=$(if $(LONG),true,false) -strict=$(if $(STRICT),true,false) -features=$(if $(FEATURES),true,false) $(if $(SEED),-seed $(SEED))

.PHONY: model
model: deps ## Search the models of the protocol to their ends, for docs/models.md (ONLY=lease OFF=BORN prints).
	@go -C integration run ./model -root $(CURDIR) -only '$(ONLY)' -off '$(OFF)'

.PHONY: simulate
simulate: ## Simulate fleets under faults (FAULT=name,...) for FOR (10m), or run one SEED=n, or a PLAN=file again.
	@go -C integration test -v -count 1 -timeout 0 -run '^TestSimulate$$' ./simulate $(if $(PLAN),-plan $(abspath $(PLAN)), \
		$(if $(FAULT),-fault $(FAULT)) $(if $(SEED),-seed $(SEED)) $(if $(or $(FOR),$(if $(SEED),,10m)),-for $(or $(FOR),10m)))

.PHONY: mutate
mutate: deps ## Change the code a little, and see who notices (FILES=expression SAMPLE=n SEED=n FOR=10m RESULTS=file).
	@go -C integration run ./mutate -files '$(FILES)' $(if $(SAMPLE),-sample $(SAMPLE)) $(if $(SEED),-seed $(SEED)) \
		$(if $(FOR),-for $(FOR)) $(if $(RESULTS),-results $(abspath $(RESULTS)))

.PHONY: cost
cost: ## Print what fleets of 3 to 1,000 nodes cost their servers each second.
	@go -C integration run ./fleetcost

.PHONY: soak
soak: deps-core ## Do so at random for as long as SOAK says (10m).
	@go -C integration run ./checker -fault '$(FAULT)' -soak $(SOAK) -features=$(if $(FEATURES),true,false) $(if $(SEED),-seed $(SEED))

.PHONY: peers
peers: deps-core ## Do the same work with this library and with others, side by side, for docs/performance.md (ONLY=hits,... prints).
	@go -C integration run ./peers -only '$(ONLY)' $(if $(ONLY),,-into $(CURDIR)/docs/performance.md)

.PHONY: ratios
ratios: ## Replay reads through the near tier and through others, for docs/performance.md (TRACES=file,... ONLY=zipf,... prints).
	@go -C integration run ./ratios -traces '$(TRACES)' -only '$(ONLY)' $(if $(ONLY),,-into $(CURDIR)/docs/performance.md)

.PHONY: stores
stores: deps-core ## Measure the library over Redis and over Memcached, for docs/choosing.md.
	@go -C integration run ./peers -only stores -into $(CURDIR)/docs/choosing.md

.PHONY: restarts
restarts: deps-core ## Restart the nodes of a fleet in turn, warmed and not, for docs/deployment.md.
	@go -C integration run ./peers -only restart -into $(CURDIR)/docs/deployment.md

.PHONY: servers
servers: $(if $(REDIS_SERVER)$(MEMCACHED),,deps-core) ## Test servers (REDIS_SERVER=program MEMCACHED=program), for docs/servers.md.
	@go -C integration run ./matrix -redis '$(call found,$(REDIS_SERVER))' -memcached '$(call found,$(MEMCACHED))' \
		-into $(CURDIR)/docs/servers.md

# found returns programs whose paths, if they are paths, begin at the root.
found = $(foreach program,$(1),$(if $(findstring /,$(program)),$(abspath $(program)),$(program)))

.PHONY: cover
cover: deps ## Measure how much of the library the tests of all modules cover.
	@rm -rf .cover && mkdir .cover
	@for module in . integration; do \
		go -C $$module test -covermode=atomic -coverpkg=$(LIBRARY) ./... \
			-args -test.gocoverdir=$(CURDIR)/.cover > .cover/output 2>&1 || { cat .cover/output; exit 1; }; \
	done
	@go tool covdata textfmt -i=.cover -o=cover.out
	@go tool cover -func=cover.out | tail -n 1

.PHONY: deps-core
deps-core: ## Install Redis and Memcached (as root on Debian or Ubuntu).
	@.ci/deps core

.PHONY: deps
deps: ## Install all that tests need: also databases, SPIN, Prometheus and Chromium.
	@.ci/deps
