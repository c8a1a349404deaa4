SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
STATE = "$${MLOPS_HOME:-.mlops}"

# The installers' caches too stay where `make clean` finds them; a cache of your own is obeyed.
export UV_CACHE_DIR ?= $(CURDIR)/.venv/cache
export PIP_NO_CACHE_DIR ?= 1

# Bare, a path would end at " #" or a quote, and even in quotes its "${NAME}" would be replaced.
define WRITE_ENV
import os, sys
state = os.path.abspath(sys.argv[1])
home = os.environ.get("DAGSTER_HOME") or os.path.join(state, "dagster")
for name, place in (("MLOPS_HOME", state), ("DAGSTER_HOME", home)):
    for letter, escape in (("\\", "\\\\"), ("'", "\\'"), ("$${", "$${:-$$}{")):
        place = place.replace(letter, escape)
    print(f"{name}='{place}'")
print("DAGSTER_EVENT_BATCH_SIZE=500")
print("DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS=1")
endef
export WRITE_ENV

INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode

.PHONY: help run test ui bench soak conformance lint lock clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# pip takes its one package by hash from the lock, then uv installs the rest in seconds.
.venv/.uv: requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r <(sed -n '/^uv==/,/[^\\]$$/p' requirements.lock)
	@touch $@

.venv/.product: .venv/.uv requirements.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.test: .venv/.product requirements-test.lock
	$(INSTALL) --require-hashes -r requirements-test.lock
	@touch $@

# Dagster reads this file wherever it is started in the repository, so that `dagster` and `dg`
# share the state and the record of `make run`. Written once: what you add to it stays.
.env:
	@$(PYTHON) -c "$$WRITE_ENV" $(STATE) > $@

run: .venv/.product .env ## Run the main job: a year of flights from raw data to evaluated models
	@$(BIN)/mlops-assets run

ui: .venv/.product .env ## Open the Dagster UI with its daemon on 127.0.0.1:3000, MLflow's on 127.0.0.1:5000; BRANCH=name for a data branch
	@$(BIN)/mlops-assets ui $(if $(BRANCH),--branch "$(BRANCH)")

# In their order: sorted by how many tests they have, the few long ones came last, one of them alone.
test: .venv/.test ## Run every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

soak: .venv/.test ## Run the long fault tests, which print what they found, and what only repeats
	@$(BIN)/python -m pytest -m soak --capture=no

# What a user can hold a lakeFS server to: the lake's tests, and all that works on branches.
LAKE_TESTS := tests/lake tests/cli/test_branch.py \
	tests/cli/test_backfill_isolated.py::test_an_isolated_backfill_that_fails_leaves_the_base_branch_as_it_was_and_is_resumed

conformance: export LAKE := $(LAKE)
conformance: export LAKEFS := $(LAKEFS)
conformance: export LAKEFS_SPEC := $(LAKEFS_SPEC)
conformance: export DAGSTER := $(DAGSTER)
conformance: .venv/.test ## Hold a lakeFS server to our tests: LAKE=address; or run copies of the suites of others: LAKEFS=folder LAKEFS_SPEC=folder DAGSTER=folder
	@$(BIN)/python -m pytest -rs $(if $(LAKE),$(LAKE_TESTS),-s tests/conformance)

bench: .venv/.test ## Run every benchmark: one JSON line a figure in bench/results.jsonl, and a table
	@$(BIN)/python -m bench

lint: .venv/.test ## Check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: .venv/.uv ## Resolve the dependencies of pyproject.toml anew
	$(BIN)/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-annotate \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --constraints requirements.lock --extra test \
		pyproject.toml --output-file requirements-test.lock

clean: ## Remove the environment and all state
	rm -rf .venv .env
# A mistyped MLOPS_HOME must not cost somebody's own folder: only what carries our mark goes.
	if [ -f $(STATE)/format ]; then rm -rf $(STATE); fi
