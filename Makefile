# The project's commands; `make help` lists them. Needs Python 3.11 or newer and make, nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# Processes of the unit and integration tests; each takes up to 2 GB.
UNIT_WORKERS ?= 2
# Folder for JUnit reports; empty writes none.
REPORTS ?=
PYTEST = $(BIN)/python -m pytest
junit = $(if $(REPORTS),--junitxml=$(REPORTS)/$(1).xml)

export RAY_USAGE_STATS_ENABLED = 0
export MLFLOW_DISABLE_TELEMETRY = true
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Dozens of processes read the same modules: compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install install-dev run test test-unit test-integration test-ray test-slow chaos lint format screenshots bench clean

help: ## List the targets.
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: install ## Sweep HAD's weights over all orders of three tasks on the embedded data set.
	$(BIN)/had sweep experiment=quickstart

test: test-unit test-integration test-ray ## Run the unit, integration and ray tiers.

test-unit: install-dev ## Run the tests of single parts (a minute).
	$(PYTEST) -m unit -n $(UNIT_WORKERS) --dist loadfile $(call junit,unit)

test-integration: install-dev ## Run whole programs without Ray: sweeps, reruns, drivers that die.
	$(PYTEST) -m integration -n $(UNIT_WORKERS) --dist loadfile $(call junit,integration)

test-ray: install-dev ## Run the tests that start Ray.
	$(PYTEST) -m "ray and not slow and not chaos and not gpu" $(call junit,ray)

test-slow: install-dev ## Run the tests that take minutes.
	$(PYTEST) -m "slow and not chaos and not gpu" $(call junit,slow)

chaos: install-dev ## Kill processes and damage files at random points.
	$(PYTEST) -m "chaos and not gpu" $(call junit,chaos)

lint: install-dev ## Check style, types and the import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

format: install-dev ## Reformat the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

screenshots: install-dev ## Take the pictures of pages in docs/images, of a sweep like the quickstart's.
	$(BIN)/had sweep experiment=quickstart name=screenshots train.eval_every=1
	$(BIN)/python docs/screenshots.py --run screenshots

bench: install-dev ## Run the benchmarks; their numbers go to build/bench/*.json.
	@mkdir -p build/bench
	@for file in tests/benchmarks/bench_*.py; do \
		echo "== $$file"; \
		$(BIN)/python $$file --json build/bench/$$(basename $$file .py).json || exit 1; \
	done

install: $(VENV)/.installed ## Make the virtual environment and install the project in it.

install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

# The stamps make an installation happen once per change of what is installed.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

clean: ## Delete what the tools cache; the store and the virtual environment stay.
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
