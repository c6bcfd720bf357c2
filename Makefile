# The two commands that matter: `make demo` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# SAMSEG, the embedded segmenter, needs Python 3.11 and numpy 1: it has an environment of its own.
SAMSEG_PYTHON ?= $(shell command -v python3.11 || command -v $(PYTHON))
SAMSEG_VENV   ?= .venv-samseg

.PHONY: help setup demo test lint types test-slow clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

setup: $(VENV)/.installed $(SAMSEG_VENV)/.tried  ## virtual environments with everything that the app needs

$(VENV)/.installed: pyproject.toml constraints.txt version
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# Installation goes on without SAMSEG: scans that come with a segmentation do not need it.
$(SAMSEG_VENV)/.tried: pyproject.toml
	@test -x $(SAMSEG_VENV)/bin/python || $(SAMSEG_PYTHON) -m venv $(SAMSEG_VENV)
	@if $(SAMSEG_VENV)/bin/pip install --quiet --disable-pip-version-check 'samseg==0.4a0' >$(SAMSEG_VENV)/install.log 2>&1; then \
	  mkdir -p $(BIN) && ln -sf "$(abspath $(SAMSEG_VENV))/bin/run_samseg" $(BIN)/run_samseg; \
	else echo 'SAMSEG could not be installed (it needs Python 3.11 and a C++ compiler); see $(SAMSEG_VENV)/install.log.'; fi
	@touch $@

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

test: setup lint types  ## lint, type check, and the tests of up to ten minutes
	$(BIN)/python -m pytest -m 'not slow' -n 2

test-slow: setup  ## the tests that take longer
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf $(VENV) $(SAMSEG_VENV) build dist demo *.egg-info
