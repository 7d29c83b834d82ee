# make app, make test, make check: each brings what it needs first, and is quick when that is there already.
.DEFAULT_GOAL := help
.PHONY: help app test check lint model benchmarks browser clean
SHELL := /bin/bash

# The newest of the supported Pythons first; `make PYTHON=/path/to/python …` chooses another.
PYTHONS := python3.11 python3.12 python3.13 python3
PYTHON ?= $(shell for name in $(PYTHONS); do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; done)
VENV := .venv
RUN := $(VENV)/bin/python
# A virtual environment whose Python has gone (an upgrade of the system) is made anew.
$(shell [ ! -e $(VENV)/app.stamp ] || $(RUN) -c '' 2>/dev/null || rm -rf $(VENV))

help: ## what can be made
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

app: $(VENV)/app.stamp ## start the page on http://127.0.0.1:7860 (another port: PORT=8000 make app)
	@$(MAKE) --no-print-directory model || echo "Going on without the default model; the page says how to get one."
	@exec $(RUN) app.py $(ARGS)

test: $(VENV)/dev.stamp model browser ## run all tests (some of them: make test ARGS="tests/test_cli.py -x")
	@$(RUN) -m pytest $(ARGS)

check: lint test ## style, types and all tests

lint: $(VENV)/dev.stamp ## style and types alone
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy

model: $(VENV)/app.stamp ## fetch the default model (once, 98 MB)
	@$(RUN) -m unlearning models fetch smollm2-135m --quiet

benchmarks: $(VENV)/benchmarks.stamp ## bring what `unlearning benchmarks` and its tests need (once, 350 MB)

browser: ## a Chromium for the tests of the page, where it can be installed
	@.ci/browser

clean: ## remove the virtual environment and caches; runs and models stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A stamp is written last: an installation that was interrupted is done again.
$(VENV)/app.stamp: requirements.txt constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed and was not found." \
		"Install it (Debian: apt install python3.11 python3.11-venv), or name it: make PYTHON=/path/to/python"; exit 1; }
	@echo "Installing what the project needs into $(VENV) (once, some minutes) …"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment (Debian: apt install python3-venv)."; exit 1; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/app.stamp
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@

$(VENV)/benchmarks.stamp: requirements-benchmarks.txt $(VENV)/app.stamp
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-benchmarks.txt -c constraints.txt
	@touch $@
