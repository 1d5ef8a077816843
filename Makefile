# Every target sets up .venv itself when it is missing; only python, pip and make are needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test test-slow fuzz lint docs bench
setup: .venv/dev

.venv/base: pyproject.toml constraints.txt
	@echo "Installing finercam and PyTorch into .venv; this takes some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/dev: .venv/base
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
# Quantus asks for the OpenCV that opens windows, which would take the place of the one that needs no display.
	$(BIN)/python -m pip install --quiet --no-deps quantus==0.6.0
	touch $@

demo: .venv/base  ## explain something, with nothing to download
	$(BIN)/finercam demo

test: .venv/dev
	$(BIN)/python -m pytest -q -n auto

test-slow: .venv/dev
	$(BIN)/python -m pytest -q -n auto -m slow --durations=30

fuzz: .venv/dev  ## 10,000 cases, and 20 kills of every long command; an hour or two
	FINERCAM_FUZZ_CASES=10000 FINERCAM_FUZZ_SECONDS=inf FINERCAM_KILLS=20 $(BIN)/python -m pytest -q -n auto -m slow tests/fuzz

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/dev  ## the guide, into docs/_build; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build

bench: .venv/dev
	$(BIN)/python -m benchmarks.cams
	$(BIN)/python -m benchmarks.evaluate
