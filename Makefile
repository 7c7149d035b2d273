# Two commands for newcomers: `make demo` and `make test`. Both create the environment when it is not there.
# `make test-newest` runs the tests on the newest releases, in an environment of its own; `make test-oldest` runs those
# that tell most on the oldest transformers that pyproject.toml allows, laid over the environment that is there.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
OLDEST := $(shell sed -n 's/.*"transformers>=\([0-9.]*\).*/\1/p' pyproject.toml)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c $(CONSTRAINTS)

.PHONY: demo test test-newest test-oldest lint types format docs clean

demo: $(VENV)/demo.stamp
	$(BIN)/lightadapt demo

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

test-newest:
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=constraints-newest.txt

test-oldest: $(VENV)/dev.stamp
	$(BIN)/python -m pip --disable-pip-version-check install -q --no-deps --upgrade --target $(VENV)/oldest transformers==$(OLDEST)
	PYTHONPATH=$(VENV)/oldest $(BIN)/python -m pytest tests/test_learning.py tests/training/test_options.py -k "demo or checkpoint"

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/dev.stamp
	$(PIP) -e ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .venv-newest build dist site *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed, this is %s. Use: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	@# seqeval comes as source only, which a pip from before 2023 builds in a way that no longer works.
	$(BIN)/python -m pip --disable-pip-version-check install -q --upgrade pip

$(VENV)/demo.stamp: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "Installing lightadapt into $(VENV); the first time takes a few minutes ..."
	$(PIP) -e ".[demo]"
	@touch $@

$(VENV)/dev.stamp: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "Installing lightadapt and its test tools into $(VENV); the first time takes a few minutes ..."
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/demo.stamp
