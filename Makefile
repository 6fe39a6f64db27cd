# make demo    compile the built-in model for this machine and talk to it
# make test    all checks: lint, types, tests, ARM bundles in an emulated ARM userland
# Both do everything on a fresh machine. Nothing outside this folder is touched, but for Debian packages that
# tests need and that root may install.

PYTHON ?= python3
BIN := .venv/bin
ARM_CACHE := .cache/arm

.PHONY: demo test lint types prepare device clean

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: lint types prepare
	scripts/run_tests.sh $(ARM_CACHE)

lint: .venv/installed-dev
	$(BIN)/ruff check .

types: .venv/installed-dev
	$(BIN)/mypy

prepare:
	scripts/prepare_tests.sh $(ARM_CACHE)

# The same question to the same model on x86-64 and on two emulated ARM processors.
device: .venv/installed
	scripts/check_device.sh $(ARM_CACHE)

.venv/installed: pyproject.toml scripts/make_venv.sh
	PYTHON=$(PYTHON) scripts/make_venv.sh .venv .
	touch $@

.venv/installed-dev: pyproject.toml scripts/make_venv.sh
	PYTHON=$(PYTHON) scripts/make_venv.sh .venv '.[dev]'
	touch $@ .venv/installed

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
