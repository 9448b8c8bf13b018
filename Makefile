# `make demo` and `make test` are all a fresh machine needs: Python 3.11+, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torch is installed first and by itself, so that pip takes the pinned (CPU) build and nothing replaces it
STAMP := $(VENV)/.installed

.PHONY: demo polis test lint docs notebooks benchmarks reproduce clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/plurality demo --out demo

# the same road on real people, where the data are there: 13 Polis consultations, statements instead of answers
polis: $(STAMP)
	@if [ -d ../shared/data/polis ]; then \
	  $(BIN)/plurality demo --data ../shared/data/polis --split item --out demo-polis; \
	else echo "no ../shared/data/polis beside this folder: skipped"; fi

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# a process a core and a thread a process; a file's tests stay together, since they share what they fitted
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# the site, offline and with warnings as errors: pages are gathered, then built; open build/docs/html/index.html
docs: $(STAMP)
	$(BIN)/python docs/plurality_docs/stage.py build/docs/source
	$(BIN)/python -m sphinx -W --keep-going -q -c docs build/docs/source build/docs/html

# run every notebook and keep what it shows; `make test` runs them too, and keeps nothing
notebooks: $(STAMP)
	for book in analyses/*.ipynb; do $(BIN)/jupyter execute --inplace $$book || exit 1; done

benchmarks: $(STAMP)
	$(BIN)/python -m benchmarks

reproduce: $(STAMP)
	for model in models/*/; do $(BIN)/plurality reproduce $$model || exit 1; done

clean:
	rm -rf $(VENV) demo demo-polis
