# What a developer or a first visitor runs; `make help` lists it.
# Everything is installed into .venv from the lock files in requirements/, with hashes, by pip as it is configured here.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WASM := tests/support/timescale_wasm
UV_VERSION := 0.13

COMPILE = $(BIN)/uv pip compile --quiet --system-certs --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-emit-index-url --custom-compile-command "make lock" $(ARGS)

# bash keeps a SECONDS of its own in the environment: only one on make's command line is meant for the demo.
ifeq ($(origin SECONDS),command line)
DEMO_OPTIONS := --seconds $(SECONDS)
endif

# A stamp carries the hash of what it was made from: nothing is done again until that changes.
hash = $(shell cat $(1) 2>/dev/null | sha256sum | cut -c1-16)
RUN_READY := $(VENV)/run-$(call hash,pyproject.toml requirements/embedded.txt)
DEV_READY := $(VENV)/dev-$(call hash,pyproject.toml requirements/dev.txt)
WASM_READY := $(WASM)/node_modules/ready-$(call hash,$(WASM)/package-lock.json)

.PHONY: help demo test lint bench lock clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUN_READY) ## Run server, agent and a replay of real data; SECONDS=30 stops by itself
	@exec $(BIN)/sextant demo $(DEMO_OPTIONS)

test: $(DEV_READY) $(WASM_READY) ## Run all tests; ARGS="-k name" narrows them
	@sh tests/side_by_side.sh $(BIN)/python $(ARGS)

lint: $(DEV_READY) ## Check style, types and the dependency rule
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV_READY) ## Measure ingest and queries on embedded PostgreSQL, and on SEXTANT_TEST_TIMESCALE_URL if set
	$(BIN)/python -m tests.benchmarks $(ARGS)

# A test checks that all of them name the same versions.
lock: $(VENV)/bin/python ## Write requirements/*.txt anew from pyproject.toml; ARGS=--upgrade takes the newest
	$(BIN)/python -m pip install --quiet "uv~=$(UV_VERSION).0"
	$(COMPILE) pyproject.toml requirements/build.in --extra embedded --extra dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml requirements/build.in --extra embedded -o requirements/embedded.txt
	$(COMPILE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) requirements/build.in -o requirements/build.txt

clean: ## Remove what the other targets installed
	rm -rf $(VENV) $(WASM)/node_modules $(WASM)/.cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Sextant needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@rm -rf $(VENV)
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(VENV)/bin/python install --quiet pip; \
	else echo "Python's venv module is incomplete here: apt-get install python3-venv (as root), then again" >&2; exit 1; fi

$(RUN_READY): $(VENV)/bin/python
	@echo "Installing Sextant into $(VENV) ..."
	@rm -f $(VENV)/run-*
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/embedded.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_READY): $(VENV)/bin/python
	@echo "Installing Sextant and its development tools into $(VENV) ..."
	@rm -f $(VENV)/dev-*
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(WASM_READY):
	@command -v npm >/dev/null || { echo "The TimescaleDB test lane needs Node 20 with npm" >&2; exit 1; }
	cd $(WASM) && npm ci --legacy-peer-deps --ignore-scripts --no-audit --no-fund
	@touch $@
