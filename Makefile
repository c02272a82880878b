# Needs python3 (3.10 or newer) and nothing else; `make servers` also needs Go. Type `make` for the list of targets.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO ?= kedro-otel-demo
PYTEST ?= $(BIN)/python -m pytest
WORKERS ?= 2
ARGS ?=
.DEFAULT_GOAL = help
.PHONY: help install demo lint types test test-fast test-oldest test-faults fuzz mutants check servers readers bench pictures docs reference matrix build clean

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

# The package and the demo's libraries, without the vendor's telemetry that Kedro brings along: nothing here is to be sent to it.
$(VENV)/demo.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	$(BIN)/python -m pip uninstall --quiet --yes kedro-telemetry
	touch $@

# What a developer has on top. kedro-telemetry moves aside: no test may reach its vendor by accident or find what it has written.
$(VENV)/dev.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[demo,dev]'
	$(BIN)/python -m pip uninstall --quiet --yes kedro-telemetry
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/kedro-telemetry kedro-telemetry
	touch $@ $(VENV)/demo.stamp

install: $(VENV)/dev.stamp ## make .venv with everything that development needs

demo: $(VENV)/demo.stamp ## a small project on real data: run it, and see the run
	rm -rf $(DEMO)
	$(BIN)/kedro otel demo $(DEMO)

lint: $(VENV)/dev.stamp ## ruff and the layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/dev.stamp ## mypy, strict
	$(BIN)/mypy

test: $(VENV)/dev.stamp ## the whole suite; ARGS='-k masking' for some of it, FULL=1 for full sizes
	$(PYTEST) -n $(WORKERS) --dist worksteal $(ARGS)

test-fast: $(VENV)/dev.stamp ## the tests that start no process and do not try every byte
	$(PYTEST) -m 'not process and not thorough and not servers and not faults' -n $(WORKERS) --dist worksteal $(ARGS)

test-oldest: $(VENV)/dev.stamp ## the tests on the oldest Python, Kedro and OpenTelemetry that are supported
	$(BIN)/nox -s oldest -- $(ARGS)

test-faults: $(VENV)/dev.stamp ## the faults alone
	$(PYTEST) -m faults -n $(WORKERS) --dist worksteal $(ARGS)

fuzz: $(VENV)/dev.stamp ## two million inputs each for the segment reader and the masking, guided by coverage (Linux; half an hour)
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/atheris atheris
	PYTHONPATH=$(VENV)/atheris $(BIN)/python tests/faults/fuzz.py reader -runs=2000000
	PYTHONPATH=$(VENV)/atheris $(BIN)/python tests/faults/fuzz.py masking -runs=2000000

mutants: $(VENV)/dev.stamp ## mutation testing of what decides on privacy, identity and counting (an hour); ARGS='kedro_otel.facts.masking*' for a part
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/mutmut 'mutmut>=3.8'
	PYTHONPATH=$(VENV)/mutmut $(BIN)/python -m mutmut run --max-children $(WORKERS) $(ARGS)
	PYTHONPATH=$(VENV)/mutmut $(BIN)/python -m mutmut results

matrix: $(VENV)/dev.stamp ## every supported Python × Kedro × OpenTelemetry
	FULL=1 $(BIN)/nox

check: lint types docs test ## what CI runs, on this Python

servers: ## the real collector, Jaeger and Prometheus for the tests, built once
	$(PYTHON) servers/build.py

readers: ## DuckDB and Kedro-Viz, with which tests open what is exported, and axe-core, which looks for faults of access (npm)
	$(PYTHON) -m venv $(HOME)/.cache/kedro-otel/readers
	$(HOME)/.cache/kedro-otel/readers/bin/python -m pip install --quiet duckdb kedro-viz
	$(HOME)/.cache/kedro-otel/readers/bin/python -m pip uninstall --quiet --yes kedro-telemetry
	mkdir -p $(HOME)/.cache/kedro-otel/axe && cd $(HOME)/.cache/kedro-otel/axe && npm pack --silent axe-core && tar xzf axe-core-*.tgz

bench: $(VENV)/dev.stamp ## what it costs, beside the others: benchmarks/results and docs/performance.md
	$(BIN)/python -m benchmarks $(ARGS)

reference: $(VENV)/dev.stamp ## write the tables and the commands' help in docs/ from the code
	$(BIN)/python scripts/reference.py

pictures: $(VENV)/dev.stamp ## docs/images, from real runs of the demo in Chromium
	$(BIN)/python scripts/pictures.py

docs: $(VENV)/dev.stamp ## the documentation, strictly, into site/
	$(BIN)/python scripts/reference.py --check
	$(BIN)/mkdocs build --strict

build: $(VENV)/dev.stamp ## the wheel and the sdist, checked
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*

clean: ## remove what the targets made, except the servers' cache
	rm -rf $(VENV) .nox site dist build $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
