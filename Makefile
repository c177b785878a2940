# Everything that a person or CI does with this repository. Needs Python 3.11 or newer, and make; `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_ARGS ?=  # e.g. --index-url of PyTorch's CPU builds, which are smaller than the default ones for Linux

.DEFAULT_GOAL := help

help:  ## list targets and the service's settings
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m app --help 2>/dev/null || true

serve: $(VENV)/.serve  ## set everything up and serve the shipped models on http://127.0.0.1:8000
	$(BIN)/python -m app

test: $(VENV)/.dev  ## set everything up and run all tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(VENV)/.dev  ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## put the code into its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(VENV)/.train  ## set up training: then .venv/bin/python -m training run CONFIG
	@echo "ready: $(BIN)/python -m training run fashion"

bench: $(VENV)/.dev  ## measure the service against its in-process ceiling
	$(BIN)/python -m benchmarks

clean:  ## remove the virtual environment and all caches; runs and models stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info

# One virtual environment, filled as far as a target needs it. A stamp is out of date when pyproject.toml is newer.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) --editable .
	@touch $@

$(VENV)/.train: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) --editable '.[train]'
	@touch $@ $(VENV)/.serve

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) --editable '.[dev]'
	@touch $@ $(VENV)/.train $(VENV)/.serve

.PHONY: help serve test check format train bench clean
