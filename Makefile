# Everything sets itself up: a virtual environment in .venv, packages at the versions of constraints.txt.
# Python >= 3.11 and make are all that must be there. PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
BIN := .venv/bin
# a process for each core; a file's tests stay together, because they share what they trained, in tests/conftest.py's order
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: setup demo test check fuzz torture format clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d is too old: 3.11 or newer is needed, try make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup  ## both cases on embedded data: 7 minutes on two cores
	$(BIN)/distillbias demo

test: setup  ## all tests
	$(PYTEST)

check: setup  ## formatting, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

fuzz: setup  ## 100,000 hostile inputs to all readers together: six minutes on one core
	$(BIN)/python -m tests.fuzz.harness --cases 100000 --seed 0 --out results/reliability/

torture: setup  ## 200 kills of whole studies at random moments: 13 minutes on two cores
	$(BIN)/python -m tests.faults.torture --kills 200 --seed 0 --out results/reliability/

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
