# The only list of developer commands.
.DEFAULT_GOAL := gate
.PHONY: setup gate test golden fix lint types bench check lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv from the PATH, or one of our own in a private environment.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
UV_VERSION := 0.13.9
STAMP := $(VENV)/.installed

setup: $(STAMP)

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The lock pins every package by hash; the project itself is installed in place.
$(STAMP): requirements-dev.lock pyproject.toml | $(filter .uv/bin/uv,$(UV))
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

gate: setup
	$(BIN)/repro-gate check

test: setup
	$(BIN)/python -m pytest

golden: setup
	$(BIN)/repro-gate update-snapshots

fix: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy
	$(BIN)/pyright --project pyproject.toml

bench: setup
	$(BIN)/python benchmarks/token_gate.py
	$(BIN)/python -m benchmarks.logprob_client
	$(BIN)/python -m benchmarks.logprob_memory
	$(BIN)/python -m benchmarks.logprob_power

# All that CI runs. Coverage is measured in the same run of the tests.
check: lint types
	$(BIN)/python -m pytest --cov --cov-report=term
	$(BIN)/coverage report --fail-under=100 --include='repro_gate/core/*,repro_gate/checks/*,repro_gate/reports/*,repro_gate/statistics/*'

lock: | $(filter .uv/bin/uv,$(UV))
	$(UV) pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --output-file requirements.lock --quiet
	$(UV) pip compile pyproject.toml --extra dev --extra hub --extra http2 --universal --generate-hashes --no-emit-index-url --output-file requirements-dev.lock --quiet

clean:
	rm -rf $(VENV) .uv .repro-gate .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
