# The two commands for a newcomer are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build mlx demo test test-rust test-mlx test-full lint parity bench clean-cache

# With CARGO_TARGET_DIR set, the MLX workspace builds beside the main one, never into it: its flags differ.
export MLX_TARGET_DIR ?= $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR)/mlx,$(CURDIR)/evaluator/mlx/target)
BIN := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)
SETUP = cd evaluator/mlx && CARGO_TARGET_DIR=$(MLX_TARGET_DIR) cargo run --quiet --release -p mlx-setup --

help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

build: ## build `evolve` itself (needs no MLX)
	@echo "== building evolve (the first time takes a few minutes)"
	@cargo build --release --workspace

mlx: ## fetch or build MLX for this machine (cached) and the kernel harness
	@echo "== preparing MLX and the kernel harness (the first time takes a few minutes)"
	@$(SETUP)

demo: build mlx ## evolve the quantized LoRA kernel on this machine; no API key needed
	@echo "== searching for a faster, leaner kernel: about 5 minutes; Ctrl-C stops, nothing is lost"
	@$(BIN)/release/evolve run --config config.yaml
	@echo
	@echo "Next: evolve best --out best.rs | evolve query 'verdict = improved order by score desc' | evolve show 1"
	@echo "      (the program is $(BIN)/release/evolve; README.md says how to use a language model)"

test: mlx test-rust test-mlx ## all tests, the short form of the slow ones

test-rust:
	@echo "== tests of the workspace"
	@cargo test --workspace

test-mlx:
	@echo "== tests of the MLX harness"
	@$(SETUP) cargo -- test --release --workspace

lint: ## formatting, lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

