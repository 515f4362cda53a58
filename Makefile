# Two commands do everything: `make train` and `make test`. Both can be repeated.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test lint check clean

train: .venv/run  ## set up, train the β-VAE on MNIST, and say where the report is
	$(BIN)/lowerbound train

test: .venv/dev  ## set up with the development extras, and run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: .venv/dev  ## ruff (lint and format) and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv is missing: install it (Debian: python3-venv)"; exit 1; }

# what is installed is pinned by constraints.txt; a changed pin or dependency installs anew
.venv/run: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[studio]'
	@touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# the peers of benchmarks/, in an environment of their own
.venv-bench: pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$@/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . -r benchmarks/requirements.txt
	@touch $@

clean:  ## remove the environment and caches, never runs/
	rm -rf .venv .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
