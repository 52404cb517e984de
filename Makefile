# Everything a person or a CI does here; `make` alone lists it. Nothing needs to be installed by hand beside Python.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
# Newer than the lock once everything that it names is installed.
INSTALLED := $(VENV)/.installed

.PHONY: help venv java chromium promtool demo test test-faults fuzz check lint fmt lock bench bench-lock broker topics clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv java ## run the whole system on a made-up company (ARGS=--exit: stop it at the end)
	@$(PYTHON) -m deploy.demo $(ARGS)

test: lint java chromium promtool ## everything: format, lint, types, and all tests, those with a real Kafka too
	$(PYTHON) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-faults: lint java ## the fault tests at full size: twenty kills and more each, three workers, three brokers (half an hour)
	$(PYTHON) -m pytest tests/fault --full $(ARGS)

fuzz: venv ## anything at all to the parsers and the HTTP APIs (ARGS="--seconds 3600"; what it finds: .local/fuzz)
	$(PYTHON) -m tests.fuzzing $(ARGS)

check: lint promtool ## what takes less than a minute: format, lint, types, unit tests
	$(PYTHON) -m pytest tests/unit --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: venv
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy

fmt: venv ## format, and mend what ruff can mend
	$(PYTHON) -m ruff format
	$(PYTHON) -m ruff check --fix

bench: venv java ## measure beside the peers and write docs/performance.md (hours, on a quiet machine; ARGS="--pairs 2")
	@$(PYTHON) -m bench $(ARGS)

broker: venv java ## start the local Kafka that the demo uses (stop it: .venv/bin/python -m deploy.broker stop)
	@$(PYTHON) -m deploy.broker start

topics: venv ## create the topics that are missing
	@$(PYTHON) -m deploy.topics

clean: venv ## stop the demo and its Kafka, delete .local (data and logs)
	@$(PYTHON) -m deploy.clean

venv: $(INSTALLED) ## make the virtual environment from requirements.lock

lock: venv ## write requirements.lock anew from pyproject.toml (ARGS=--upgrade moves what is pinned)
	$(PYTHON) -m uv pip compile pyproject.toml --group dev --universal --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--quiet --output-file requirements.lock $(ARGS)

bench-lock: venv # Quix Streams allows no pydantic that the project takes, so the benchmarks' peers have a lock of their own
	$(PYTHON) -m uv pip compile bench/requirements.in --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--quiet --output-file bench/requirements.lock $(ARGS)

$(INSTALLED): requirements.lock
	@if ! $(PYTHON) -c '' 2>/dev/null; then \
		found=; \
		for candidate in python3.11 python3.12 python3.13 python3 python; do \
			if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$candidate; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "make: no Python 3.11 or newer on the PATH: install one (Debian, Ubuntu: apt-get install python3.11 python3.11-venv)" >&2; \
			exit 1; \
		fi; \
		echo "making $(VENV) with $$($$found --version)"; \
		$$found -m venv $(VENV) || { \
			rm -rf $(VENV); \
			echo "make: $$found has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; \
			exit 1; \
		}; \
	fi
	@echo "installing requirements.lock"
	@# uv takes 4 s where pip takes 17; pip, whose settings uv does not read, is there for when uv finds no registry.
	@awk '/^uv==/ { on = 1 } on { print } on && !/\\$$/ { exit }' requirements.lock > $(VENV)/uv.lock
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.lock
	@$(PYTHON) -m uv pip install --quiet --python $(PYTHON) --compile-bytecode --no-deps --require-hashes \
			-r requirements.lock \
		|| $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

comma := ,

# $(call need,test that it is there,what it is,Debian's packages,who needs it and how else to install it)
define need
	@if ! { $(1); } >/dev/null; then \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
			echo "installing $(2)"; \
			apt-get update -qq; \
			DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(3) >/dev/null; \
		else \
			echo "make: $(4)" >&2; \
			exit 1; \
		fi; \
	fi
endef

# Kafka runs on Java and is fetched by Maven; neither is needed when KAFKA_BOOTSTRAP_SERVERS names a broker.
java:
	$(call need,[ -n "$${KAFKA_BOOTSTRAP_SERVERS:-}" ] || { command -v java && command -v mvn; },Java 17 and Maven,openjdk-17-jre-headless maven,Kafka needs Java 17 or newer and Maven: install them (Debian$(comma) Ubuntu: sudo apt-get install openjdk-17-jre-headless maven; macOS: brew install openjdk@17 maven))

# The portal's tests look at its pages in a real browser.
chromium:
	$(call need,command -v chromium || command -v chromium-browser || command -v google-chrome,Chromium,chromium,the portal's tests need Chromium: install it (Debian$(comma) Ubuntu: sudo apt-get install chromium))

# The alert rules are tried by Prometheus' own promtool.
promtool:
	$(call need,command -v promtool,promtool,prometheus,the tests of the alerts need promtool: install it (Debian$(comma) Ubuntu: sudo apt-get install prometheus; macOS: brew install prometheus))
