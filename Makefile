# What one types here. `make help` lists it. Everything is installed below .venv, .venv-uv and ~/.cache/headrace.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
ifndef SIDE_BY_SIDE
.NOTPARALLEL:
endif

PYTHONS := python3.12 python3.11 python3.13 python3 python
UV := $(shell command -v uv || echo .venv-uv/bin/uv)
RUN := .venv/bin/python
READY := .venv/.headrace-ready
PYTEST := $(RUN) -m pytest

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## install all that is needed: Python packages, jars; checks Java (JAVA_INSTALL=1 installs it)
	$(if $(JAVA_INSTALL)$(MARIADB_INSTALL)$(POSTGRES_INSTALL)$(MONGODB_INSTALL),@$(RUN) -m infra.preflight)

$(READY): pyproject.toml uv.lock infra/jars.xml infra/jars.lock
	@python=$$(for name in $(PYTHONS); do \
	    if "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	        "$$name" -c 'import sys; print(sys.executable)'; break; fi; done); \
	if [ -z "$$python" ]; then \
	    echo "headrace needs Python 3.11, 3.12 or 3.13, and none of '$(PYTHONS)' is one."; \
	    echo "Next: install it (Debian, Ubuntu: apt-get install -y python3 python3-venv), then repeat."; exit 1; fi; \
	if ! command -v "$(UV)" >/dev/null; then \
	    "$$python" -m venv .venv-uv || { echo "Next: apt-get install -y python3-venv, then repeat."; exit 1; }; \
	    .venv-uv/bin/python -m pip install --quiet 'uv>=0.8'; fi; \
	"$(UV)" sync --frozen --quiet --python "$$python"
	@$(RUN) -m infra.preflight
	@$(RUN) -m infra.jars
	@touch $@

# Tiers wait more than they compute, for JVMs that start and rounds that come: two at once take little more than half
# of the time, and twice the memory.
LANES := $(shell awk '/^MemAvailable/{print ($$2 > 14 * 1048576) ? 2 : 1}' /proc/meminfo 2>/dev/null || echo 1)

.PHONY: test lane-edges lane-e2e
test: lint test-unit ## lint and every tier of tests; with 14 GiB of free memory two tiers at once
	@echo "Each tier prints when it is done: the longest after three quarters of an hour."
	@$(MAKE) --no-print-directory --jobs=$(LANES) --output-sync=line SIDE_BY_SIDE=1 lane-edges lane-e2e
lane-edges: $(READY)
	@$(call tier,services)
lane-e2e: $(READY)
	@$(call tier,e2e)
	@$(call tier,spark)

.PHONY: test-unit test-spark test-services test-e2e
test-unit: $(READY) ## Python only, seconds
	$(PYTEST) tests/unit
test-spark: $(READY) ## a local Spark session with Delta
	@$(call tier,spark)
test-services: $(READY) ## each edge against the real part; starts and stops a local stack
	@$(call tier,services)
test-e2e: $(READY) ## the whole stack from end to end
	@$(call tier,e2e)

# A tier without tests yet (pytest's exit code 5) is said, not failed.
define tier
if [ -d tests/$(1) ]; then $(PYTEST) tests/$(1); else echo "tests/$(1): no tests"; fi
endef

.PHONY: lint
lint: $(READY) ## ruff, formatting, mypy strict, layers
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports

.PHONY: demo
demo: $(READY) ## the whole pipeline on real parts, ending with the proof; KEEP=1 leaves it running
	.venv/bin/headrace demo $(if $(KEEP),--keep)

.PHONY: up down
up: $(READY) ## start the local deployment
	.venv/bin/headrace up
down: $(READY) ## stop it; data stay
	.venv/bin/headrace down

.PHONY: bench chaos soak
bench: $(READY) ## figures and ratios, written to tests/bench/out
	$(PYTEST) tests/bench -s
chaos: $(READY) ## kills at more places and with more seeds than the gate
	$(PYTEST) -m chaos tests/services tests/e2e -s
	HEADRACE_CHAOS_SEEDS=100 $(PYTEST) tests/spark/test_state_any_order.py
	HEADRACE_CHAOS_SEEDS=50 $(PYTEST) tests/services/test_file_kills.py -k any_byte
	HEADRACE_CHAOS_SEEDS=50 $(PYTEST) tests/e2e/test_random_kills.py -s
	HEADRACE_CHAOS_SEEDS=50 $(PYTEST) tests/e2e/test_pgbench.py -s
soak: $(READY) ## ten minutes of changes: the number of files stays flat
	HEADRACE_SOAK_MINUTES=10 HEADRACE_CHAOS_SEEDS=1 $(PYTEST) tests/e2e/test_soak.py -s

.PHONY: clean
clean: ## remove what was installed and generated in this folder; data (.headrace) and the jar cache stay
	rm -rf .venv .venv-uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/bench/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
