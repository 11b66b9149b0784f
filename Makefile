# `make` alone lists the targets. A fresh machine needs Python 3.11 or newer (with pip and venv), make and git;
# whatever else a target needs, `setup` installs into .venv first.

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
STAMP := $(VENV)/.furu-setup

# Many tests wait for what they killed to be missed, so there are three at once for each core; and they are of very
# uneven length: whoever is idle takes over waiting ones.
PYTEST := -q -n $(shell echo $$((3 * $$(getconf _NPROCESSORS_ONLN)))) --dist worksteal

# Each process has a Dask cluster of its own, and the workspace's tests run beside it in CI.
PYTEST_DASK := -q -n 2 --dist worksteal

# Stores of benchmarks are made in the folder for temporary files.
BENCH = $(if $(BENCH_DIR),TMPDIR="$(abspath $(BENCH_DIR))" )$(RUN) tests/bench/run.py

# What `make demo` runs, and where.
DEMO_DIR := examples/digits
DEMO := run digits:report -j 2
DEMO_REPORT := from digits import report; print('The report:', report.get())

unexport VIRTUAL_ENV
# Tests and jobs start thousands of interpreters: without bytecode each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
MAKEFLAGS += --no-print-directory

.PHONY: help setup demo test test-all test-lowest lint types check house bench bench-peers wheels check-wheels release-check test-furu-dask demo-slurm chaos slurm-up slurm-down lock clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make or update .venv (all other targets do so by themselves)

# A Python that is named is tried even when the stamp is fresh: it may not be the one that .venv was made with.
$(STAMP): pyproject.toml uv.lock wheelhouse.sha256 tools/setup.py $(wildcard packages/*/pyproject.toml) $(if $(PYTHON),FORCE)
	@python=$$(PYTHON="$(PYTHON)" VENV=$(VENV) sh tools/find-python) && "$$python" tools/setup.py $(VENV)
	@touch $@

demo: $(STAMP) ## run the digits experiment; again, and everything is loaded
	@cd $(DEMO_DIR) && ../../$(BIN)/furu $(DEMO) && ../../$(BIN)/python -c "$(DEMO_REPORT)"

test: $(STAMP) ## run the tests (ARGS="-k lease" to choose)
	@$(RUN) -m pytest $(PYTEST) $(ARGS)

test-all: $(STAMP) ## run every test at its full size: for a night, and before a release
	@TEST_THOROUGH=1 $(RUN) -m pytest $(PYTEST) --conformance=all $(ARGS)
	@$(RUN) tools/try_furu_dask.py $(PYTEST_DASK) --conformance=all $(ARGS)
	@$(RUN) tools/lowest.py $(PYTEST)

test-lowest: $(STAMP) ## test core, plan and local with the lowest versions that they require (ARGS as for test)
	@$(RUN) tools/lowest.py $(PYTEST) $(ARGS)

lint: $(STAMP) ## check format and style, and that uv.lock fits
	@$(RUN) -m uv lock --check --quiet 2>/dev/null || { echo "uv.lock does not fit pyproject.toml: run make lock"; exit 1; }
	@$(RUN) -m ruff format --check --quiet --output-format concise . || { echo "run: make format"; exit 1; }
	@$(RUN) -m ruff check --quiet .

format: $(STAMP) ## format, and repair what can be repaired
	@$(RUN) -m ruff check --fix --quiet . ; $(RUN) -m ruff format .

types: $(STAMP) ## check types
	@$(RUN) -m mypy

check: lint types test ## lint, types and test

house: $(STAMP) ## measure the source: sizes, circles, names, duplicates (ARGS="--at HEAD~5" for a revision)
	@$(RUN) tools/house.py $(ARGS)

bench: $(STAMP) ## measure against bare references (BENCH_DIR=/dev/shm for another disk, ARGS="get" to choose)
	@$(BENCH) $(ARGS)

bench-peers: $(STAMP) ## measure beside joblib, executorlib, parsl and diskcache, each installed below .bench if pip can
	@$(BENCH) --peers $(ARGS)

wheels: $(STAMP) ## build the wheels into dist
	@rm -rf dist && $(RUN) -m uv build --quiet --offline --wheel --all-packages --out-dir dist

check-wheels: $(STAMP) ## build the wheels, check them, and try them outside the workspace
	@$(RUN) tools/check_wheels.py

release-check: $(STAMP) ## build sdists and wheels, and run the packages' tests against them
	@$(RUN) tools/release_check.py $(PYTEST) $(ARGS)

test-furu-dask: $(STAMP) ## test the executor of examples/furu-dask as a stranger's package (ARGS as for test)
	@$(RUN) tools/try_furu_dask.py $(PYTEST_DASK) $(ARGS)

demo-slurm: $(STAMP) ## run the digits experiment on a real Slurm cluster, under each executor
	@$(RUN) tests/slurm_demo.py

chaos: $(STAMP) ## kill whatever can be killed while a run goes on (ARGS="--seed 7 --minutes 10 --nodes 3000")
	@$(RUN) tests/chaos/run.py $(ARGS)

slurm-up: $(STAMP) ## start a Slurm cluster to try things on: eval "$(make slurm-up)"
	@$(RUN) -m furu_testing.slurm up

slurm-down: $(STAMP) ## end it
	@$(RUN) -m furu_testing.slurm down

# An environment that is there will do: with a new package in the workspace, the old lock makes none.
lock: $(if $(wildcard $(RUN)),,$(STAMP)) ## lock the newest versions that fit
	@$(RUN) tools/lock.py

clean: ## remove .venv, caches and built files (not .wheelhouse, not furu-data)
	@rm -rf .venv* .bench dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find packages tests tools examples docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

FORCE:
