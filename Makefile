# midonet-kube: what people run. `make help` lists it.
# Only a Rust toolchain is presumed (rustup reads rust-toolchain.toml); everything else a target needs
# it installs, when root on Debian, or names.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help rust musl packages-build packages-lint packages-test build image demo test test-programs cluster-programs test-cluster test-labs test-crates test-clock test-fuzz test-kernels fuzz bench cluster cluster-down conformance policy-conformance lint fmt

# What operators get; the image has these alone.
PROGRAMS := midonet-kube-node midokube midonet-kube-controllers
# What developers get besides: a cluster of namespaces on one machine.
LAB := midokube-lab
PLUGIN := midonet-kube-cni
HOST = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
OUT = target/$(HOST)/release
# A program that only starts and ends does so in a third of the time with musl (.cargo/config.toml).
MUSL = $(firstword $(subst -, ,$(HOST)))-unknown-linux-musl
HAS_MUSL = $(shell [ -d "$$(rustc --print sysroot)/lib/rustlib/$(MUSL)" ] && echo yes)
PLUGIN_TARGET = $(if $(HAS_MUSL),$(MUSL),$(HOST))

# Every script, by its first line; what they source comes with them.
SCRIPTS = $(shell git grep -lE '^\#!/bin/(ba)?sh' -- .ci bench crates deploy fuzz tests)

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-19s %s\n", $$1, $$2}'

rust:
	@command -v cargo >/dev/null || { echo "no Rust toolchain: install rustup (https://rustup.rs), then run make again" >&2; exit 1; }

musl: rust
	@[ -d "$$(rustc --print sysroot)/lib/rustlib/$(MUSL)" ] || rustup target add $(MUSL) || \
	  echo "no Rust for $(MUSL): the plugin is built for $(HOST), and starts more slowly" >&2

packages-build: rust
	@tests/cluster/packages install build

packages-lint: rust
	@tests/cluster/packages install lint
	@tests/cargo-deny --version >/dev/null

packages-test: rust
	@tests/cluster/packages install test
	@tests/promtool --version >/dev/null

build: packages-build musl ## Build the programs into target/release
	cargo build --release --locked $(PROGRAMS:%=-p %) -p lab
	cargo build --profile plugin --locked -p $(PLUGIN) --target $(PLUGIN_TARGET)
	@mkdir -p target/release
	@install -C -m 755 $(PROGRAMS:%="$(OUT)/%") "$(OUT)/$(LAB)" "target/$(PLUGIN_TARGET)/plugin/$(PLUGIN)" target/release/
	@install -C -m 755 target/release/midonet-kube-cni target/release/midonet-kube-ipam

image: build ## Build the container image, target/midonet-kube.tar
	deploy/image target/release target/midonet-kube.tar

demo: packages-test build ## Three nodes on this machine, Pods, and every path between them (root)
	target/release/midokube-lab demo

test-programs: packages-test
	tests/timed cluster-build tests/cluster/build
	tests/timed cluster-build-e2e tests/cluster/build-e2e

# Tests take whole workspaces: a part of it would have other features, and be compiled again. Some tests stop tokio's clock, a
# feature that the programs are built without: with them, everything would be compiled twice (tests/tests/structure.rs looks).
TESTED = --release --locked --workspace --exclude objects --exclude midonet-client
CLOCK_TESTED = --release --locked -p objects -p midonet-client

# All parts run, whatever fails, and the machine is as it was before. Two at a time keep two cores busy; with more, tests run
# into their deadlines.
test: packages-lint test-programs build image ## Everything, a real three-node Kubernetes included (root)
	tests/timed compile cargo test $(TESTED) --no-run
	tests/timed compile-clock cargo test $(CLOCK_TESTED) --no-run
	tests/host-unchanged $(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target test-cluster test-labs test-crates test-clock lint test-fuzz

test-cluster:
	tests/timed $@ cargo test $(TESTED) --no-fail-fast --test cluster

test-labs:
	tests/timed $@ cargo test $(TESTED) --no-fail-fast $(foreach test,$(filter-out cluster,$(patsubst %.rs,%,$(notdir $(wildcard tests/tests/*)))),--test $(test))

test-crates:
	tests/timed $@ cargo test $(TESTED) --exclude e2e --no-fail-fast

test-clock:
	tests/timed $@ cargo test $(CLOCK_TESTED) --no-fail-fast

test-fuzz:
	tests/timed $@ fuzz/run all -seed=1 -runs=5000

test-kernels: packages-test build ## The programs under Debian's kernels 6.1 and 6.12, in virtual machines (root)
	KERNEL_TESTS=all cargo test $(TESTED) --test kernels -- --nocapture

fuzz: packages-test ## Look for inputs that break the plugin; TARGET=store,... RUNS= or SECONDS= (root)
	fuzz/run "$(or $(TARGET),all)" $(if $(RUNS),-runs=$(RUNS),-max_total_time=$(or $(SECONDS),60))

bench: cluster-programs build ## This network and its peers side by side; ONLY=add,... ROUNDS= SECONDS= BEFORE=other/programs (root)
	bench/flannel/build
	cargo build --release --locked $(PROGRAMS:%=-p %) -p lab -p bench
	"$(OUT)/bench" --bin-dir target/release $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(BEFORE),--before-dir $(BEFORE))

cluster-programs: packages-test
	tests/cluster/build

cluster: cluster-programs image ## A real Kubernetes of three nodes with this network (root)
	tests/cluster/cluster up

cluster-down: ## End it
	tests/cluster/cluster down

conformance: test-programs image ## Kubernetes' own network specs on that; FOCUS=REGEX SKIP=REGEX FAMILY=46|4|6 (root)
	MIDOKUBE_CLUSTER_DIR="$(CURDIR)/target/conformance-cluster" tests/cluster/conformance

policy-conformance: cluster-programs image ## Upstream's tests of ClusterNetworkPolicy on that; RUN=REGEX FAMILY=46|4|6 (root)
	MIDOKUBE_CLUSTER_DIR="$(CURDIR)/target/conformance-cluster" tests/cluster/policy-conformance

lint: packages-lint ## Formatting, lints, licences of dependencies
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	shellcheck --severity=warning --source-path=SCRIPTDIR $(SCRIPTS)
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo clippy --release --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz -- -D warnings
	tests/cargo-deny --all-features check bans licenses sources

fmt: rust ## Format the sources
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
