# The two commands for a newcomer are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build mlx demo test test-rust test-api test-mlx test-full fuzz fuzz-tool lint parity compat package check-api check-statistics bench bench-search bench-dora mlx-lm bench-openevolve bench-pipeline bench-service

# With CARGO_TARGET_DIR set, the MLX workspace builds beside the main one, never into it: its flags differ.
MAIN_TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)
MLX_TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR)/mlx,$(CURDIR)/evaluator/mlx/target)
SETUP = cd evaluator/mlx && CARGO_TARGET_DIR=$(MLX_TARGET) cargo run --quiet --release -p mlx-setup -- --checkout "$(CURDIR)"
# mlx-setup's dependencies have macros built with other features. Built together with it the kernel API would be another library of the same
# name, and both would be built anew each time.
HARNESS := --workspace --exclude mlx-setup
CACHE := $(if $(EVOLVE_CACHE),$(EVOLVE_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/evolve)
MLX_VERSION := 0.32.2
OPENEVOLVE_VERSION := 0.4.0
OPENEVOLVE = $(CACHE)/openevolve-$(OPENEVOLVE_VERSION)
SCHEMATHESIS_VERSION := 4.32.5
SCHEMATHESIS = $(CACHE)/schemathesis-$(SCHEMATHESIS_VERSION)

help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

build: ## build `evolve` itself (needs no MLX)
	@echo "== building evolve (the first time takes a few minutes)"
	@cargo build --release --workspace

mlx: ## fetch or build MLX for this machine (cached) and the kernel harness
	@echo "== preparing MLX and the kernel harness (the first time takes a few minutes)"
	@$(SETUP) build

demo: build mlx ## evolve the quantized LoRA kernel on this machine; no API key needed
	@echo "== searching for a faster, leaner kernel: some minutes; Ctrl-C stops, nothing is lost"
	@$(MAIN_TARGET)/release/evolve run --config config.yaml
	@echo
	@echo "Next (the program is $(MAIN_TARGET)/release/evolve):"
	@echo "  evolve best --out best.rs | evolve query 'verdict = improved order by score desc' | evolve show 1 | evolve diff 0 1"
	@echo "  README.md says how to search with a language model, and how to bring your own problem"

# Many tests wait for processes of theirs, so the two workspaces are tested beside each other. Everything of the harness is built before.
test: mlx ## all tests, the slow ones in their short form
	@echo "== building the tests of the MLX harness"
	@$(SETUP) cargo -- test --release $(HARNESS) --no-run
	@$(SETUP) cargo -- test --release --package mlx-setup --no-run
	@echo "== tests of the MLX harness, beside those of the workspace: their output comes after"
	@$(MAKE) --no-print-directory test-mlx > $(MLX_TARGET)/tests.log 2>&1 & beside=$$!; \
	  $(MAKE) --no-print-directory test-rust test-api; code=$$?; \
	  wait $$beside; beside=$$?; cat $(MLX_TARGET)/tests.log; \
	  test $$code = 0 -a $$beside = 0 || { echo "== tests failed: workspace and service $$code, MLX harness $$beside"; exit 1; }
	@echo "== all tests passed. Next: make demo"

test-rust:
	@echo "== tests of the workspace"
	@INSTA_UPDATE=no cargo test --workspace --no-fail-fast

test-api: $(SCHEMATHESIS)/complete
	@echo "== the service against its OpenAPI document, short"
	@python3 bench/check_api.py $(MAIN_TARGET)/debug/evolve --schemathesis $(SCHEMATHESIS)/bin/schemathesis --phases examples,coverage

test-mlx:
	@echo "== tests of the MLX harness"
	@($(SETUP) cargo -- test --release $(HARNESS) --no-fail-fast); code=$$?; \
	  ($(SETUP) cargo -- test --release --package mlx-setup --no-fail-fast) && exit $$code

test-full: test mlx-lm ## all tests in their long form
	@echo "== the long form of the slow tests"
	@INSTA_UPDATE=no EVOLVE_TEST_FULL=1 PROPTEST_CASES=5000 EVOLVE_MLX_LM_PYTHON=$(CACHE)/mlx-lm-$(MLX_VERSION)/bin/python \
	  cargo test --release -p search -p evaluator -p orchestrator
	@$(MAKE) --no-print-directory check-api
	@$(MAKE) --no-print-directory package compat DIR=bench/compat/examples
	@$(MAKE) --no-print-directory fuzz SECONDS=20

# Without a sanitizer the stable compiler will do; RUSTC_BOOTSTRAP is for cargo-fuzz, which asks for nightly otherwise.
FUZZ = cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz
FUZZ_TARGETS := frames block gate reply
FUZZ_FINDINGS := $(CURDIR)/fuzz/target/corpus

fuzz: fuzz-tool ## feed hostile bytes to whatever reads them: make fuzz SECONDS=600 (for each of four targets)
	@test $(SECONDS) -gt 0 2>/dev/null || { echo "usage: make fuzz SECONDS=600"; exit 2; }
	@set -e; for target in $(FUZZ_TARGETS); do \
	  echo "== fuzzing $$target for $(SECONDS) s; what is new goes to $(FUZZ_FINDINGS)/$$target"; \
	  mkdir -p $(FUZZ_FINDINGS)/$$target; \
	  ($(FUZZ) run --sanitizer none $$target $(FUZZ_FINDINGS)/$$target corpus/$$target -- -max_total_time=$(SECONDS) \
	    -timeout=10 -max_len=16384 -rss_limit_mb=4096 -verbosity=0 -print_final_stats=1); \
	done; echo "== nothing crashed"

fuzz-tool:
	@cargo fuzz --version >/dev/null 2>&1 || { echo "== installing cargo-fuzz (once)"; cargo install --locked cargo-fuzz; } || \
	  { echo "cargo-fuzz is missing and can't be installed: run 'cargo install cargo-fuzz' where crates.io can be reached"; exit 1; }

lint: mlx ## formatting and lints of both workspaces
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cd evaluator/mlx && cargo fmt --all --check
	$(SETUP) cargo -- clippy --release --workspace --all-targets -- -D warnings

parity: mlx ## compare the trainer with reference runs made by MLX-LM: make parity DIR=path
	@test -n "$(DIR)" || { echo "usage: make parity DIR=path/to/runs   (evaluator/mlx/trainer/tests/parity has some)"; exit 2; }
	@$(SETUP) cargo -- run --quiet --release -p trainer --bin parity -- $(abspath $(DIR))

# OpenEvolve and what its examples import, in an environment of its own.
OPENEVOLVE_PACKAGES := openevolve==$(OPENEVOLVE_VERSION) numpy scipy matplotlib scikit-learn pykalman PyWavelets beautifulsoup4 sympy requests \
  jax optax tqdm numba orjson psutil toml pandas

$(OPENEVOLVE)/complete:
	@echo "== making an environment with OpenEvolve (once)"
	@python3 -m venv $(OPENEVOLVE) && $(OPENEVOLVE)/bin/python -m pip install --quiet $(OPENEVOLVE_PACKAGES) && touch $@

package: build $(OPENEVOLVE)/complete ## what `evolve export` writes is loaded by OpenEvolve itself, and our table of its keys is complete
	@$(OPENEVOLVE)/bin/python bench/compat/package.py $(MAIN_TARGET)/release/evolve

compat: build $(OPENEVOLVE)/complete ## whether OpenEvolve's examples run as they are, with the metrics that it gives them: make compat DIR=path/to/examples
	@test -d "$(DIR)" || { echo "usage: make compat DIR=path/to/openevolve/examples   (FLAGS=\"--only circle_packing\" for some of them)"; exit 2; }
	@$(OPENEVOLVE)/bin/python bench/compat/compat.py --evolve $(MAIN_TARGET)/release/evolve $(FLAGS) $(abspath $(DIR))

check-api: build $(SCHEMATHESIS)/complete ## the service against its OpenAPI document: thousands of requests made up from it
	@python3 bench/check_api.py $(MAIN_TARGET)/release/evolve --schemathesis $(SCHEMATHESIS)/bin/schemathesis --examples 200

$(SCHEMATHESIS)/complete:
	@echo "== installing schemathesis $(SCHEMATHESIS_VERSION) (once)"
	@python3 -m venv $(SCHEMATHESIS)
	@$(SCHEMATHESIS)/bin/python -m pip install --quiet schemathesis==$(SCHEMATHESIS_VERSION)
	@touch $@

check-statistics: ## check the statistics against given values: make check-statistics DIR=path
	@test -n "$(DIR)" || { echo "usage: make check-statistics DIR=path/with/golden.json/and/reference.json   (evaluator/tests/statistics/data has some)"; exit 2; }
	@cargo run --quiet --release -p evaluator --example check-statistics -- $(abspath $(DIR))

bench: build mlx ## the speeds that we claim, each a ratio measured side by side
	@echo "== compiling and evaluating candidates"
	@cargo bench --quiet -p evaluator --bench evaluation
	@echo "== the sandbox: starting a command, and compiling in it"
	@cargo bench --quiet -p evaluator --bench sandbox
	@echo "== evaluators in Python: forked from a warmed interpreter, and started anew"
	@cargo bench --quiet -p evaluator --bench python
	@echo "== trainer against MLX-LM: same model, same batches, same MLX, in turn"
	@$(MAKE) --no-print-directory mlx-lm
	@$(SETUP) cargo -- build --quiet --release -p trainer --bin tokens
	@set -e; folder=$$(mktemp -d); trap 'rm -rf $$folder' EXIT; \
	  libraries=$$($(SETUP) env >$$folder/env; . $$folder/env; echo $(MLX_TARGET)/release:$$(rustc --print target-libdir):$$LD_LIBRARY_PATH); \
	  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$$@"\n' $$libraries $(MLX_TARGET)/release/tokens >$$folder/tokens; \
	  chmod +x $$folder/tokens; $$folder/tokens make $$folder/model; \
	  $(CACHE)/mlx-lm-$(MLX_VERSION)/bin/python bench/mlx_lm_tokens.py $$folder/model --against $$folder/tokens
	@echo "== search: ask and tell"
	@cargo bench --quiet -p search --bench ask_tell
	@cargo bench --quiet -p search --bench memory

# MLX-LM itself, in an environment of its own. On a Mac `mlx` needs no extra.
mlx-lm:
	@test -x $(CACHE)/mlx-lm-$(MLX_VERSION)/bin/python || { python3 -m venv $(CACHE)/mlx-lm-$(MLX_VERSION) && \
	  $(CACHE)/mlx-lm-$(MLX_VERSION)/bin/python -m pip install --quiet 'mlx[cpu]==$(MLX_VERSION)' 'mlx-lm==$(MLX_VERSION)'; }

bench-dora: mlx-lm ## the DoRA champion as a patch for MLX-LM: losses, speed, memory (ARGUMENTS="--shapes qwen2.5-0.5b")
	@$(CACHE)/mlx-lm-$(MLX_VERSION)/bin/python bench/mlx_lm_dora.py $(ARGUMENTS)

bench-search: ## what evolution adds: evaluations to a target for every strategy, on synthetic landscapes
	@cargo bench --quiet -p search --bench landscapes

bench-openevolve: build ## evolve and OpenEvolve side by side at the same work: iterations per second, memory
	@test -x $(OPENEVOLVE)/bin/python || { echo "== installing OpenEvolve $(OPENEVOLVE_VERSION) (once)"; python3 -m venv $(OPENEVOLVE) && \
	  $(OPENEVOLVE)/bin/python -m pip install --quiet openevolve==$(OPENEVOLVE_VERSION); }
	@echo "== OpenEvolve and evolve in turn, three rounds: some minutes"
	@python3 bench/openevolve.py $(MAIN_TARGET)/release/evolve --openevolve $(OPENEVOLVE)/bin/python --python $(OPENEVOLVE)/bin/python --rounds 3
	@echo "== evolve alone, ten times as long: is it flat?"
	@python3 bench/openevolve.py $(MAIN_TARGET)/release/evolve --python $(OPENEVOLVE)/bin/python --iterations 20000

bench-pipeline: build ## slow model calls kept under way with 1 000 to 50 000 programs stored, and how soon a run goes on
	@echo "== model calls of half a second, 16 at once: some minutes"
	@python3 bench/pipeline.py $(MAIN_TARGET)/release/evolve

bench-service: build ## every page of the dashboard over 100 000 programs, and what an open page costs a search
	@cargo build --quiet --release -p program-db --example make-history
	@echo "== pages, then searches in turn with and without a page open: some minutes"
	@python3 bench/service.py $(MAIN_TARGET)/release/evolve --maker $(MAIN_TARGET)/release/examples/make-history
