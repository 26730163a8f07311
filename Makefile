# octopus-hub. `make run` and `make test` are all the set-up there is.
PYTHON ?= python3
PORT ?= 8000
IP ?= 127.0.0.1
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROXY := $(VENV)/.proxy
BUNDLE := widgets/octopus_widgets/static/.stamp
PATHS := octopus_hub widgets extension tests examples bench tools setup.py

.PHONY: help run test lint types generate verify bench clean
help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(STAMP) $(PROXY) $(BUNDLE) ## Start the workbench (ONCE=1: do the main job unattended and stop; PORT=, IP=)
	@$(BIN)/octopus up --ip $(IP) --port $(if $(ONCE),0,$(PORT)) --root-dir "$(CURDIR)" \
	  $(if $(ONCE),--once examples/quickstart/quickstart.ipynb)

test: $(STAMP) $(PROXY) $(BUNDLE) ## Prove it: every test that this machine can run
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: $(STAMP) ## Style and layers
	@$(BIN)/ruff check $(PATHS)
	@$(BIN)/ruff format --check -q $(PATHS)
	@PYTHONPATH=widgets:extension $(BIN)/lint-imports --no-logo > .build/layers.txt 2>&1 || { cat .build/layers.txt; exit 1; }

types: $(STAMP) ## Strict mypy
	@$(BIN)/python -m mypy

generate: $(STAMP) ## Write the generated files: schemas, reference pages, TypeScript types
	@$(BIN)/python tools/generate.py

verify: $(STAMP) ## Fail when a generated file differs from its source
	@$(BIN)/python tools/generate.py --check

bench: $(STAMP) ## Measure; tables to the screen, JSON to bench/results/
	@for file in bench/*.py; do name=$${file#bench/}; case $$name in facts.py|process.py) ;; *) $(BIN)/python -m bench.$${name%.py} || exit 1;; esac; done

clean: ## Remove what was built (state folders stay)
	rm -rf $(VENV) .build build dist *.egg-info widgets/node_modules widgets/octopus_widgets/static

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing; install it (Debian: apt install python3 python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; give one with make run PYTHON=/path/to/python3"; exit 1; }
	@[ "$$(uname -s)" = Linux ] || { echo "octopus-hub runs on Linux (WSL included); use a Linux machine or WSL"; exit 1; }
	@$(PYTHON) -m venv $(VENV) > .venv.log 2>&1 || { rm -rf $(VENV); echo "python3-venv is missing; install it (Debian: apt install python3-venv) and try again"; exit 1; }
	@rm -f .venv.log

$(STAMP): pyproject.toml setup.py $(VENV)/bin/python
	@mkdir -p .build
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --root-user-action=ignore -e '.[dev]'
	@touch $@

$(PROXY): $(STAMP) octopus_hub/hub/proxy.py
	@$(BIN)/octopus install-proxy
	@touch $@

$(BUNDLE): $(STAMP) $(wildcard widgets/src/*) $(wildcard widgets/package.json)
	@$(BIN)/python widgets/bundle.py
	@touch $@
