# Needs python3 (3.11 or newer) with venv, and make. Everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: help install demo test slow lint clean

help:
	@echo "make demo   build, verify and show a small dataset in demo-dataset/, count its atoms, and follow a film's in demo-film/"
	@echo "make test   style, types and tests (no GPU, no network)"
	@echo "make slow   the long tests"
	@echo "make clean  remove the environment and the demo"

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "found $$($(PYTHON) --version), expected 3.11 or newer: install it and call make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "the venv module is missing: install it (Debian: apt-get install python3-venv)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/ceria-data build demo --out demo-dataset --overwrite
	$(BIN)/ceria-data verify demo-dataset
	$(BIN)/ceria-data preview demo-dataset --html --out demo-dataset.html
	$(BIN)/ceria-models predict demo-dataset --split test --limit 8 --pictures 2 --out demo-prediction --overwrite
	$(BIN)/ceria-data build demo-movie --out demo-movie --overwrite
	$(BIN)/ceria-models predict demo-movie --split test --pictures 1 --out demo-film --overwrite
	$(BIN)/ceria-models track demo-film --overwrite
	$(BIN)/ceria-models report demo-film --overwrite

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(ONE_THREAD) $(BIN)/pytest -q -n 2

slow: install
	$(ONE_THREAD) $(BIN)/pytest -q -m slow

clean:
	rm -rf .venv demo-dataset demo-dataset.html demo-prediction demo-movie demo-film
