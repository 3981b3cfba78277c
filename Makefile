# Everything runs in .venv, which is made once and made again when the pins change.
PYTHON ?= python3
MODEL ?= mlp_ws_al
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_TRACKING_URI ?= sqlite:///mlflow.db

QUICK := $(addprefix tests/,data models reports tasks/disc/mini test_architecture.py test_project.py $(addprefix base/test_,errors.py files.py locks.py seeds.py) \
	$(addprefix tuning/test_,constraints.py dimensions.py space.py strict_yaml.py))

.PHONY: help search evaluate compare test check test-quick test-faults test-lowest audit test-ui screenshots bench bench-search format lock ui clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

search evaluate: .venv/ready ## for one model: make search MODEL=mlp_ws_al
	mlflow run . --env-manager local -e $@ -P model=$(MODEL)

compare: .venv/ready ## the evaluated variants side by side
	mlflow run . --env-manager local -e compare

test: check ## every check and test

check: .venv/ready-dev ## the same
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	hadolint Dockerfile
	cffconvert --validate
	pytest

test-quick: .venv/ready-dev ## the tests that start no processes and train nothing
	pytest $(QUICK)

test-faults: .venv/ready-dev ## what is killed, cut off, full or damaged, in full: 20 minutes to an hour
	VARIANTLAB_FAULTS=full pytest --numprocesses=0 tests/faults

test-lowest: ## every test with the oldest packages that pyproject.toml admits, in a quarter of an hour (needs uv)
	mkdir -p build
	uv pip compile pyproject.toml --resolution lowest-direct --extra auth --extra postgres --extra ui --python-version 3.11 --quiet -o build/lowest.txt
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/pip install --quiet --disable-pip-version-check -c build/lowest.txt --editable '.[dev]'
	PATH=$(CURDIR)/build/lowest/bin:$$PATH pytest -W default

audit: .venv/ready-dev ## known weaknesses of the packages in requirements.txt (asks pypi.org)
	pip-audit --requirement requirements.txt --disable-pip --no-deps

test-ui: .venv/ready-dev ## MLflow's and Optuna's pages in a real browser (needs chromium: apt install chromium)
	pytest -m browser --numprocesses=0 tests/browser

screenshots: .venv/ready-dev ## the same with runs of the usual size, for the pictures in docs/screenshots
	VARIANTLAB_SCREENSHOTS=docs/screenshots $(MAKE) test-ui

bench: .venv/ready-bench ## the engine against what people use instead, in a few minutes (benchmarks/README.md)
	python -m benchmarks

bench-search: .venv/ready-bench ## whole searches beside Optuna's and Ray Tune's, in about a quarter of an hour (benchmarks/README.md)
	python -m benchmarks.search

format: .venv/ready-dev ## let ruff format and fix
	ruff format .
	ruff check --fix .

lock: ## write requirements.txt anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra postgres --extra ui --universal --python-version 3.11 --quiet --custom-compile-command "make lock" -o requirements.txt

ui: .venv/ready ## MLflow and optuna-dashboard over mlflow.db and optuna.db
	variantlab ui

clean: ## remove the environment and caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist *.egg-info

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "variantlab needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] + "; choose another: make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear .venv
	pip install --quiet --disable-pip-version-check -r requirements.txt
	pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/ready-dev: .venv/ready
	pip install --quiet --disable-pip-version-check -c requirements.txt --editable '.[dev]'
	touch $@

.venv/ready-bench: .venv/ready
	pip install --quiet --disable-pip-version-check -c requirements.txt --editable '.[bench]'
	touch $@
