# The two commands that matter: `make demo` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# SAMSEG, the embedded segmenter, needs Python 3.11 and numpy 1: it has an environment of its own.
SAMSEG_PYTHON ?= $(shell command -v python3.11 || command -v $(PYTHON))
SAMSEG_VENV   ?= .venv-samseg

.PHONY: help setup samseg demo test lint types test-slow model evidence bench image-test slurm-test clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

setup: $(VENV)/.installed $(VENV)/.samseg  ## virtual environments with everything that the app needs

# Without Debian's python3-venv a folder with Python but no pip is left: the next try starts anew.
$(VENV)/.installed: pyproject.toml constraints.txt version
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# Installation goes on without SAMSEG: scans that come with a segmentation do not need it. What could not be
# installed is not tried again by each command, which may be off line, but by `make samseg`.
$(VENV)/.samseg: pyproject.toml | $(VENV)/.installed
	@if { test -x $(SAMSEG_VENV)/bin/pip || $(SAMSEG_PYTHON) -m venv --clear $(SAMSEG_VENV); } >$(VENV)/samseg.log 2>&1 \
	  && $(SAMSEG_VENV)/bin/pip install --quiet --disable-pip-version-check 'samseg==0.4a0' >>$(VENV)/samseg.log 2>&1; then \
	  ln -sf "$(abspath $(SAMSEG_VENV))/bin/run_samseg" $(BIN)/run_samseg; \
	else echo 'SAMSEG could not be installed; see $(VENV)/samseg.log. It needs Python 3.11 with headers and a C++ compiler;'; \
	  echo 'on Debian 12: apt-get install python3-venv python3-dev g++. Then `make samseg` tries again.'; fi
	@touch $@

samseg:  ## try again to install SAMSEG, the embedded segmenter
	rm -f $(VENV)/.samseg
	$(MAKE) --no-print-directory setup

# Off line after installation: the cohort is simulated, the template comes with nilearn.
DEMO ?= demo
demo: setup  ## simulate a cohort, score it, run the group level, train on its counts, say where the page is
	@if [ -e $(DEMO)/bids/dataset_description.json ]; then echo 'Using the cohort in $(DEMO)/bids.'; \
	else $(BIN)/epvs-simulate $(DEMO)/bids --participants 10 --rescanned 3 --sessions 2 --contrasts T2w --voxel-size 0.8 0.8 1 --seed 1 --nprocs 2; fi
	$(BIN)/epvs-bids $(DEMO)/bids $(DEMO)/out participant --work-dir $(DEMO)/work --omp-nthreads 1
	$(BIN)/epvs-bids $(DEMO)/bids $(DEMO)/out group
	$(BIN)/epvs-bids $(DEMO)/bids $(DEMO)/out group --analysis train --recipe modern --init-from default --model-name demo
	@echo 'Open $(abspath $(DEMO))/out/group.html in a browser.'

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

test: setup lint types  ## lint, type check, and the tests (up to ten minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not slow and not image and not cluster'

test-slow: setup  ## the tests that take longer
	$(BIN)/python -m pytest -m slow

model: setup  ## train the default model anew on simulated regions (resumable)
	$(BIN)/python tools/train_default_model.py

evidence: setup  ## docs/evidence.md: the paper's tables and figures on a simulated cohort
	$(BIN)/python tools/make_evidence.py

# Other toolkits have an environment of their own; without it the rows about them say so.
BENCH_VENV := .venv-bench
$(BENCH_VENV)/.tried: benchmarks/requirements.txt
	@test -x $(BENCH_VENV)/bin/pip || $(PYTHON) -m venv --clear $(BENCH_VENV)
	@$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $< >$(BENCH_VENV)/install.log 2>&1 \
	  || echo 'The other toolkits could not be installed; see $(BENCH_VENV)/install.log, and remove $(BENCH_VENV) to try again.'
	@touch $@

bench: setup $(BENCH_VENV)/.tried  ## benchmarks/RESULTS.md: speed beside other programs (half an hour, resumable)
	$(BIN)/python -m benchmarks

image-test: setup  ## build the image without pulling one, and run it as users do (root, podman, debootstrap)
	container/test_image.sh

slurm-test: setup  ## the participant level on a one-node Slurm (root, slurm, munge)
	tools/slurm/run_test.sh

clean:
	rm -rf $(VENV) $(SAMSEG_VENV) $(BENCH_VENV) .bench build dist $(DEMO) *.egg-info
