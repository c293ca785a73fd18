# make quickstart | test | lint | test-slow | clean. Each works alone, from a fresh clone, and twice in a row.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# Part of the packaging: when one of these changes, the environment is brought up to date.
PARTS  := pyproject.toml setup.py constraints.txt

# Small tensors on few cores: one thread is faster than several that wait for each other. A process for each core, four
# at most (each loads torch and TensorFlow), and a file's tests in one of them, because they share what they made.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: help quickstart test test-slow lint format clean
.DELETE_ON_ERROR:

help:
	@echo "make quickstart  distil, export and compare a small student: ten minutes, everything included"
	@echo "make test        set up and run the tests"
	@echo "make test-slow   the tests that take long or install things"
	@echo "make lint        ruff and mypy"
	@echo "make clean       delete the environment and what the quickstart wrote"

quickstart: $(VENV)/.installed
	@echo "== quickstart: teacher -> student -> int8 ONNX -> comparison"
	@$(PY) distill/quickstart.py

test: $(VENV)/.installed-dev
	@echo "== tests"
	@$(TEST_ENV) $(PY) -m pytest $(PARALLEL)

test-slow: $(VENV)/.installed-dev
	@echo "== slow tests"
	@$(TEST_ENV) $(PY) -m pytest -m slow $(PARALLEL)

lint: $(VENV)/.installed-dev
	@echo "== ruff"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@echo "== mypy"
	@$(PY) -m mypy

format: $(VENV)/.installed-dev
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

$(VENV)/.made:
	@echo "== environment: creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# torch alone and first: together with others pip may settle on a build with gigabytes of CUDA.
$(VENV)/.installed: $(VENV)/.made $(PARTS)
	@echo "== environment: installing torch (1 of 2)"
	@$(PIP) torch==2.13.0
	@echo "== environment: installing compact-labse with train, minilm, onnx, bench (2 of 2)"
	@$(PIP) --editable '.[train,minilm,onnx,bench]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "== environment: installing the tools for tests, and TensorFlow"
	@$(PIP) --editable '.[dev,search,tflite,tensorflow,compress]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info runs quickstart
