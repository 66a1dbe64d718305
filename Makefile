# `make demo` and `make test` are all that a fresh machine needs: Python 3.11+ with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= 2
export OMP_NUM_THREADS ?= 1

.PHONY: setup install demo test bench lint format clean unlock site

# A virtual environment is tied to its folder: a copied or moved one would run the old folder's code, so it is rebuilt.
setup:
	@[ ! -e $(VENV)/folder ] || [ "$$(cat $(VENV)/folder)" = "$$(pwd -P)" ] || rm -rf $(VENV)
	@[ $(VENV)/folder -nt pyproject.toml ] || $(MAKE) --no-print-directory install

install:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "This project needs Python 3.11 or newer; set PYTHON=/path/to/python3.11.")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@pwd -P > $(VENV)/folder

demo: setup
	$(BIN)/snakemake --cores $(CORES) all
	@echo "Figures are in figures/demo, tables in results/demo/tables."

# Draws the items of all suites that have measurements, then builds site/index.html, which opens without a server.
site: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/bench items
	$(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html."

test: setup
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile

bench: setup
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

# After a killed Snakemake. Refused while a Snakemake of this folder still runs.
unlock: setup
	$(BIN)/python workflow/unlock.py

clean:
	rm -rf results/datasets results/subsets results/references figures/*/ logs .runs .snakemake
	find results -mindepth 1 -maxdepth 1 -type d ! -name baselines -exec rm -rf {} +
