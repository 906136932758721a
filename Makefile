# Thin targets. `make serve` and `make test` need Python 3.11 or newer and nothing else; they set up the rest in .venv.

.DEFAULT_GOAL := help
.PHONY: help serve test gen lint bench lock clean
SHELL := /bin/sh

# The interpreter that makes .venv: the newest that runs, is new enough and can make one. Overridden by PYTHON=...
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)
BIN := .venv/bin

# Tools that .ci/run builds, such as grpcurl, are found by the tests here.
export PATH := $(CURDIR)/.cache/bin:$(PATH)

# What an installation depends on. The stamp of an installation carries their checksum, so that a change of content
# or a move of the clone installs again, and nothing else does.
INPUTS := $(wildcard requirements*.lock pyproject.toml clients/python/pyproject.toml)
KEY := $(shell { echo "$(CURDIR)"; cat $(INPUTS); } | cksum | tr ' ' '-')
RUNTIME := .venv/.runtime-$(KEY)
DEVELOPMENT := .venv/.development-$(KEY)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
LOCK := $(BIN)/uv pip compile pyproject.toml --all-extras --group build --universal --python-version 3.11 --upgrade \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --annotation-style line --quiet

help:  ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

serve: $(RUNTIME)  ## Run the gateway: gRPC on 127.0.0.1:50051, REST on 127.0.0.1:8080 (ARGS=...)
	@exec $(BIN)/llm-gateway serve $(ARGS)

test: $(DEVELOPMENT)  ## Run the tests (ARGS="-k name" chooses)
	$(BIN)/python -m pytest $(ARGS)

gen: $(DEVELOPMENT)  ## Write generated code from the protos, and pages of docs/ from the code
	$(BIN)/python proto/generate.py
	$(BIN)/python docs/generate.py

lint: $(DEVELOPMENT)  ## Check style, types and that what is generated is fresh
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/python proto/generate.py --check
	$(BIN)/python docs/generate.py --check

bench: $(DEVELOPMENT)  ## Measure requests a second, latency and memory (ARGS=...)
	$(BIN)/python -m tests.bench $(ARGS)

lock: $(DEVELOPMENT)  ## Pin every dependency anew, as pyproject.toml allows
	$(PIP) install --upgrade uv
	$(LOCK) --output-file requirements.lock
	$(LOCK) --group dev --output-file requirements-dev.lock

clean:  ## Remove what make made
	rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path '*/node_modules/*' -prune -exec rm -rf {} +

# A development installation holds the runtime's too, so either stamp serves `make serve`.
$(RUNTIME):
	@test -e $(DEVELOPMENT) || { $(call venv) && echo "Installing what the gateway needs into .venv (once)" \
	&& $(PIP) install --require-hashes -r requirements.lock && $(call editable,.); }
	@touch $@

$(DEVELOPMENT):
	@$(call venv) && echo "Installing what development needs into .venv (once)" \
	&& $(PIP) install --require-hashes -r requirements-dev.lock && $(call editable,.) \
	&& { test ! -e clients/python/pyproject.toml || $(call editable,clients/python); }
	@rm -f .venv/.runtime-* .venv/.development-* && touch $(RUNTIME) $@

# Makes .venv unless a working one stands. pip's script fails when the interpreter or the clone has moved away.
venv = { $(BIN)/pip --version >/dev/null 2>&1 || { test -n "$(PYTHON)" \
	|| { echo "LLM Gateway needs Python 3.11 or newer with its venv module. Install it, or name it: make PYTHON=..." >&2; \
	exit 1; }; "$(PYTHON)" -m venv --clear .venv; }; }

# Installs a project of this clone as links to its sources; hatchling and the dependencies are there already.
editable = $(PIP) install --no-deps --no-build-isolation --editable $(1)
