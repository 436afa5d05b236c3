# `make demo` and `make test` do all the set-up by themselves, on any machine with python3 (3.11 or later) and make.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
WORKERS ?= auto
DEMO := .demo

MOTO := .moto

.PHONY: demo test lint types coverage wheel check clean system-tools

demo: $(VENV)/.installed
	@rm -rf $(DEMO) && cp -R fixtures/images/hello $(DEMO)
	@echo '$$ manifestctl tags oci:$(DEMO)'
	@$(BIN)/manifestctl tags oci:$(DEMO)
	@echo '$$ manifestctl create oci:$(DEMO):1.4 :1.4-amd64 :1.4-arm64 --require linux/amd64,linux/arm64'
	@$(BIN)/manifestctl create oci:$(DEMO):1.4 :1.4-amd64 :1.4-arm64 --require linux/amd64,linux/arm64
	@echo '$$ manifestctl inspect oci:$(DEMO):1.4'
	@$(BIN)/manifestctl inspect oci:$(DEMO):1.4

test: $(VENV)/.installed-dev system-tools $(MOTO)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

coverage: $(VENV)/.installed-dev system-tools $(MOTO)/.installed
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov=manifestctl --cov-branch --cov-report=term:skip-covered

# A wheel, built and used in an environment that has nothing else of this tree.
wheel: $(VENV)/.installed-dev
	sh .ci/wheel "$(PYTHON)"

check: lint types coverage wheel

clean:
	rm -rf $(VENV) $(MOTO) $(DEMO) build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.made:
	sh .ci/venv "$(PYTHON)" $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed

# AWS's APIs as moto has them, for tests. It brings click, with which httpx imports its own command line, so it has an
# environment of its own.
$(MOTO)/.installed: constraints.txt
	sh .ci/venv "$(PYTHON)" $(MOTO)
	$(MOTO)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt moto flask flask-cors
	@touch $@

# The registry and the readers that end-to-end tests run against; where they cannot be installed, those tests are skipped.
system-tools:
	@sh .ci/system-tools
