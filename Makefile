# make demo    compile the built-in model for this machine and talk to it
# make test    all checks: lint, types, tests, ARM bundles in an emulated ARM userland
# make test-slow    what takes long of the same: sanitizers, musl programs, more families on emulated ARM (some minutes)
# make test-devices   the built-in model on every kind of device, emulated: equal bits; prints a table
# make test-exact   equal bits at the shapes of 2B-4T: tiers, threads, prompt lengths, lm_head, guessing (ten minutes)
# All do everything on a fresh machine. Nothing outside this folder is touched, but for ~/.cache/edgebit (what zig and
# TVM made) and Debian packages that tests need and that root may install.

PYTHON ?= python3
BIN := .venv/bin
ARM_CACHE := .cache/arm

.PHONY: demo test test-slow test-devices test-exact lint types prepare device clean

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: lint types prepare
	scripts/run_tests.sh $(ARM_CACHE)

test-slow: .venv/installed-dev prepare
	scripts/run_tests.sh $(ARM_CACHE) -m slow

test-devices: .venv/installed-dev prepare
	scripts/prepare_devices.sh $(ARM_CACHE)
	scripts/run_tests.sh $(ARM_CACHE) --dist loadgroup -m devices tests/devices

# No processes side by side: each test uses all CPUs.
test-exact: .venv/installed-dev
	$(BIN)/pytest -m exact tests/exact

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
