# install | demo | test | lint: each one installs what it needs first and is quick the second time.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint clean

install:
	@$(PYTHON) -m installer

demo: install
	$(BIN)/python tools/demo.py

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv build *.egg-info
