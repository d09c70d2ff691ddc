# Two commands: `make run` serves on http://127.0.0.1:8787, `make test` runs every test. Both set up what they need.
# PYTHON=python3.12 picks an interpreter, EXTRA=semantic adds an extra, ARGS="--port 9000" goes to `turnpike serve`,
# ARGS="-k journal" to pytest, DOWNLOAD_CACHE_DIR=... is where pip and npm keep what they download.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

EXTRA ?=
ARGS ?=
PYTHON ?=
export PYTHON

ifdef DOWNLOAD_CACHE_DIR
export PIP_CACHE_DIR := $(abspath $(DOWNLOAD_CACHE_DIR))/pip
export npm_config_cache := $(abspath $(DOWNLOAD_CACHE_DIR))/npm
endif

DEV := .venv-dev/bin
PYTEST := $(DEV)/python -m pytest
# On every core; a file's tests stay together, so that each worker starts the shared gateways once.
SPREAD := -n auto --dist loadfile
NODE_CLIENT := tests/e2e/node/node_modules/.package-lock.json

.PHONY: setup run dev test test-fast test-long test-compiled test-others check format bench lock clean chromium curl node

setup:
	@requirements/environment.sh .venv $(EXTRA)

run: setup
	@exec .venv/bin/turnpike serve $(ARGS)

# The tests' tools live in an environment of their own, so that `make run` stays light.
dev:
	@requirements/environment.sh .venv-dev dev

# The slow ones two at a time, those with vLLM first: one that starts keeps about one core busy.
test: dev chromium curl node
	$(PYTEST) -m "not slow and not long" $(SPREAD) --whole $(ARGS)
	@$(DEV)/python -m tests.fixtures.vllm
	$(PYTEST) -m "slow and not long" -n 2 --dist loadfile --no-loadscope-reorder -o faulthandler_timeout=3000 $(ARGS)
	@$(MAKE) test-compiled
	@$(MAKE) test-others

# For the hand that is coding: what starts no gateway, no command and no database server.
test-fast: dev
	$(PYTEST) -m "not process and not desk and not slow and not long" $(SPREAD) $(ARGS)

test-long: dev chromium curl node
	$(PYTEST) -m long -n 2 --dist load --maxschedchunk 1 -o faulthandler_timeout=7200 --figures=bench/RESULTS.md $(ARGS)

# The fast tests once more against the compiled build. Its environment finds the tests through the path file, behind the
# installed packages; PYTHONSAFEPATH keeps the working folder from coming first. tests/conftest.py checks what was found.
COMPILED := .cache/compiled
test-compiled: dev
	@missing=$$($(DEV)/python requirements/compile.py --missing); \
	if [ -n "$$missing" ]; then \
		echo "turnpike: the compiled build is not tested here: $$missing"; \
	else \
		requirements/environment.sh $(COMPILED) dev compiled; \
		echo "$$PWD" >"$$($(COMPILED)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth"; \
		echo "turnpike: the fast tests once more, against the compiled build"; \
		PYTHONSAFEPATH=1 $(COMPILED)/bin/python -m pytest -q --compiled -p no:cacheprovider -o pythonpath= $(SPREAD) \
			-m "not slow and not long and not source" $(ARGS) </dev/null; \
	fi

# On every other Python that this machine has: what runs in one process, and what is promised over HTTP.
test-others: dev
	@own=$$($(DEV)/python -c 'import sys; print("{}.{}".format(*sys.version_info))'); \
	others=$$(requirements/pythons.sh | grep -v "^$$own " || true); \
	versions=$$(cut -d ' ' -f 1 <<<"$$others" | paste -sd ' '); \
	echo "turnpike: tested on Python $$own; other versions here: $${versions:-none}"; \
	while read -r version python; do \
		if [ -n "$$version" ]; then \
			PYTHON=$$python requirements/environment.sh .cache/python$$version dev; \
			.cache/python$$version/bin/python -m pytest -q -p no:cacheprovider $(SPREAD) \
				-m "not slow and not long and (contract or not process)" </dev/null; \
		fi; \
	done <<<"$$others"

check: dev
	$(DEV)/ruff format --check
	$(DEV)/ruff check
	$(DEV)/mypy
	$(DEV)/lint-imports
	$(DEV)/deptry .
	$(DEV)/vulture
	$(DEV)/coverage erase
	$(DEV)/coverage run -m pytest -m "not slow and not long" $(SPREAD)
	$(DEV)/coverage combine --quiet
	$(DEV)/coverage report

format: dev
	$(DEV)/ruff format
	$(DEV)/ruff check --fix

bench: setup
	bench/run.sh $(ARGS)

# Writes the locks anew from pyproject.toml; `make lock ARGS=--upgrade` takes the newest releases. An extra's lock holds
# the base too, at the same versions; vLLM's stand apart, for environments of its own.
LOCK = $(DEV)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--overrides requirements/without-torch.txt $(ARGS)
lock: dev
	$(LOCK) pyproject.toml --output-file requirements/base.lock
	for extra in semantic all dev; do \
		$(LOCK) pyproject.toml --extra $$extra --constraints requirements/base.lock --output-file requirements/$$extra.lock; \
	done
	for group in build compile; do \
		$(LOCK) --group $$group --constraints requirements/dev.lock --output-file requirements/$$group.lock; \
	done
	requirements/local-compile.sh $(DEV)/uv

chromium: dev
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
		|| requirements/debian.sh "Chromium, which the page tests need," chromium fonts-liberation
	@$(DEV)/python -m playwright --version >/dev/null 2>&1 \
		|| requirements/debian.sh "libatomic, which the page tests' driver needs," libatomic1

curl:
	@command -v curl >/dev/null || requirements/debian.sh "curl, by which the pages' examples ask," curl

node: $(NODE_CLIENT)

$(NODE_CLIENT): tests/e2e/node/package.json tests/e2e/node/package-lock.json
	@command -v npm >/dev/null || requirements/debian.sh "Node.js, which a client test needs," nodejs npm
	cd tests/e2e/node && npm ci --no-audit --no-fund --ignore-scripts </dev/null
	@touch $@

clean:
	rm -rf .venv .venv-dev .cache .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		tests/e2e/node/node_modules build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
