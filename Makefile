# `make demo` and `make test` are all a fresh machine needs: Python 3.11+, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# -qq: one line a step, and errors. --no-compile: Python compiles what it imports, which is a small part of what is installed
# pinned versions; `make CONSTRAINTS=constraints-latest.txt ...` takes the newest of all but torch
CONSTRAINTS ?= constraints.txt
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile -c $(CONSTRAINTS)
# one environment, installed in steps: the demo needs neither the samplers nor what the tests compare with
TORCH := $(VENV)/.torch
DEMO := $(VENV)/.demo
TEST := $(VENV)/.test
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo polis test test-slow lint stubs docs notebooks benchmarks reproduce wheel clean

# torch first and by itself, so that pip takes the pinned (CPU) build and nothing replaces it
$(TORCH): $(CONSTRAINTS)
	@test -x $(BIN)/python || { echo "1/4 a virtual environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "2/4 torch (the largest download)"
	@$(PIP) torch
	@touch $@

$(DEMO): pyproject.toml $(TORCH)
	@echo "3/4 plurality and its figures"
	@$(PIP) -e '.[plot]'
	@touch $@

$(TEST): $(DEMO)
	@echo "4/4 samplers, trainers and the libraries that tests compare with (some minutes)"
	@$(PIP) -e '.[test]'
	@touch $@

demo: $(DEMO)
	$(BIN)/plurality demo --out demo

# the same road on real people, where the data are there: 13 Polis consultations, statements instead of answers
polis: $(DEMO)
	@if [ -d ../shared/data/polis ]; then \
	  $(BIN)/plurality demo --data ../shared/data/polis --split item --out demo-polis; \
	else echo "no ../shared/data/polis beside this folder: skipped"; fi

lint: stubs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# what an editor knows of `import plurality`, written from the names it offers
stubs: $(TEST)
	$(BIN)/python tools/stubs.py

# a process a core and a thread a process; a file's tests stay together, since they share what they fitted
test: lint
	$(PYTEST) -m "not slow"

# the site, offline and with warnings as errors: pages are gathered, then built; open build/docs/html/index.html
docs: $(TEST)
	$(BIN)/python docs/plurality_docs/stage.py build/docs/source
	$(BIN)/python -m sphinx -E -W --keep-going -q -c docs build/docs/source build/docs/html

# long simulations and samplers, and every notebook from its first cell to its last
test-slow: $(TEST)
	$(PYTEST) -m slow

# run every notebook and keep what it shows; `make test-slow` runs them too, and keeps nothing
notebooks: $(TEST)
	for book in analyses/*.ipynb; do $(BIN)/jupyter execute --inplace $$book || exit 1; done

benchmarks: $(TEST)
	$(BIN)/python -m benchmarks

reproduce: $(TEST)
	for model in models/*/; do $(BIN)/plurality reproduce $$model || exit 1; done

# build the wheel, look at its metadata, and import it from a place of its own
wheel: $(TEST)
	$(PIP) build twine
	rm -rf dist
	$(BIN)/python -m build --wheel
	$(BIN)/python -m twine check --strict dist/*.whl
	$(BIN)/python tools/check_wheel.py dist/*.whl

clean:
	rm -rf $(VENV) demo demo-polis dist
