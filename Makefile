# install | demo | test | lint | hooks: each one installs what it needs first and is quick the second time.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint hooks clean

install:
	@$(PYTHON) -m installer

demo: install
	$(BIN)/python tools/demo.py

test: install
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

hooks: install
	$(BIN)/pre-commit install

clean:
	rm -rf .venv build *.egg-info
