# install | demo | test | quick | lint | hooks: each one installs what it needs first and is quick the second time.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: install demo test quick lint hooks clean

install:
	@$(PYTHON) -m installer

demo: install
	$(BIN)/python tools/demo.py

# COVERAGE=1 measures what is covered too, for twice the time.
test: install
	$(PYTEST) $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

# What a change breaks first: no tool is run, no process started and nothing trained for long.
quick: install
	$(PYTEST) -q -m "not slow and not gpu and not processes" tests/golden tests/properties tests/unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

hooks: install
	$(BIN)/pre-commit install

clean:
	rm -rf .venv build *.egg-info
