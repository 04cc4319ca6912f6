# make demo: a ranked list of trained checkpoints, no server to install.   make test: everything the project promises.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint browser clean

demo: $(VENV)/.stamp
	$(BIN)/zoorank demo

test: $(VENV)/.stamp lint browser
	$(BIN)/pytest

lint: $(VENV)/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages are tested in a real browser: one on PATH, else Playwright's own, else the system's package.
browser: $(VENV)/.stamp
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null \
	  || $(BIN)/playwright install chromium 2>/dev/null \
	  || (apt-get update -qq && apt-get install -y -qq chromium) \
	  || echo 'no browser could be installed: the tests that need one are skipped'

$(VENV)/.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .zoorank
