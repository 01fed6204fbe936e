# Tributary. `make demo` shows the whole flow, `make test` runs every test; both build once, into one target directory.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export CARGO_TARGET_DIR ?= $(HOME)/.cache/tributary/target
BIN := $(CARGO_TARGET_DIR)/release/tributary

.PHONY: help setup build demo test lint bench soak fmt

help: ## Show what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: ## Install the system packages that the build needs and that are missing
	@scripts/setup build

build: setup ## Build the binary
	cargo build --release --locked --workspace

demo: build ## Run the recorded flywheel end to end (ONCE=1: end afterwards; PORT=8080)
	@TRIBUTARY_BIN=$(BIN) ONCE=$(ONCE) scripts/demo

lint: setup ## Check format and lints
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

test: lint build ## Run every test
	@TRIBUTARY_BIN=$(BIN) scripts/test

bench: build ## Measure beside DuckDB and Kafka's own client (SHORT=1: check that the bench works)
	@TRIBUTARY_BIN=$(BIN) SHORT=$(SHORT) scripts/bench

soak: build ## Run the long form of the fault tests, then ten minutes of load through Kafka
	@TRIBUTARY_BIN=$(BIN) TRIBUTARY_E2E=long scripts/test e2e
	@TRIBUTARY_BIN=$(BIN) scripts/bench --only soak --soak 600

fmt: ## Format the code
	cargo fmt --all
