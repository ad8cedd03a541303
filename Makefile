# Every verb sets up what it needs. Logic lives in Python, never here.
.DEFAULT_GOAL := all
.PHONY: all help setup unit test test-all check fix bench golden schemas run demo conformance fuzz torture soak oracle peers lock
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install -q
LOCK := .venv/bin/uv pip compile -q --universal --generate-hashes --no-build --python-version 3.11 --no-header --no-annotate pyproject.toml --extra build
FIND := for p in python3 python3.14 python3.13 python3.12 python3.11; do $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done
CONFIG ?= sidecar.yaml
PURE := $(addprefix tests/,terms syntax decide domains review policy/test_load.py policy/test_bundle.py policy/test_cel.py test_flow.py)

all: check test

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
.venv/.made:
	@p=$$($(FIND)); test -n "$$p" || { echo 'needs Python 3.11 or newer with its venv module, and found none' >&2; exit 1; }; echo "setting up .venv with $$p"; "$$p" -m venv .venv
	@touch $@
.venv/.demo: .venv/.made .lock/demo.txt pyproject.toml
	$(PIP) --require-hashes --only-binary :all: -r .lock/demo.txt
	$(PIP) --no-deps --no-build-isolation --no-index -e .
	@touch $@
.venv/.dev: .venv/.made .lock/dev.txt pyproject.toml
	$(PIP) --require-hashes --only-binary :all: -r .lock/dev.txt
	$(PIP) --no-deps --no-build-isolation --no-index -e .
	@touch .venv/.demo $@
setup: .venv/.dev ## the virtual environment with every tool
unit: .venv/.dev ## tables and properties of the rooms without I/O, under 10 s
	$(PY) -m pytest -q -m 'not (bench or conformance or e2e or fuzz or slow or torture)' $(PURE)
test: .venv/.dev ## everything, fuzz and torture in their short form, under 8 min
	$(PY) -m pytest -q -n auto --maxprocesses=4 -m 'not bench'
test-all: .venv/.dev ## everything at full length
	$(PY) -m pytest -q -n auto --maxprocesses=4 -m 'not bench' --scale=full
check: .venv/.dev ## format, lint, types, import contracts, sizes and bans
	.venv/bin/ruff format --check -q . && .venv/bin/ruff check -q . && .venv/bin/mypy && .venv/bin/lint-imports && $(PY) -m pytest -q tests/test_tidy.py
fix: .venv/.dev ## what the formatter and the linter can mend by themselves
	.venv/bin/ruff check -q --fix . ; .venv/bin/ruff format -q .
bench: .venv/.dev ## decisions a second and latency added, beside bare answers
	$(PY) -m tests.bench
golden schemas: .venv/.dev ## rewrite golden files and schemas, to be read as a diff
	$(PY) -m tests.golden
run: .venv/.demo ## the sidecar with CONFIG=sidecar.yaml
	.venv/bin/sidecar run -c $(CONFIG)
demo: .venv/.demo ## the whole story on this machine, in about a minute
	$(PY) -m examples.demo
conformance: .venv/.dev ## other people's vectors
	$(PY) -m pytest -m conformance
fuzz: .venv/.dev ## hostile input at full length
	$(PY) -m pytest -m fuzz --scale=full
torture: .venv/.dev ## kills, full disks and lost power at full length
	$(PY) -m pytest -m torture --scale=full
soak: .venv/.dev ## 20 minutes of load, reloads and kills of the recorder
	$(PY) -m pytest -s -k steady_load --scale=full
oracle: .venv/.dev ## what a real PostgreSQL checks for each of STATEMENTS=file.sql over SCHEMA=file.sql
	@$(PY) -m tests.domains.data.oracle $(SCHEMA) $(STATEMENTS)
peers: .venv/.dev ## other versions of PostgreSQL and other languages' drivers, for the tests that meet them
	@$(PY) -m tests.intercept.postgres.peers.fetched
lock: .venv/.dev ## resolve pyproject.toml into .lock/ anew; UPGRADE=--upgrade takes newer releases
	$(LOCK) $(UPGRADE) --extra dev -o .lock/dev.txt
	$(LOCK) -c .lock/dev.txt --extra demo -o .lock/demo.txt
	$(LOCK) -c .lock/dev.txt -o .lock/run.txt
