# Every target is one step; `make setup` and `make deb` alone reach a package registry.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PROTO := client/ledgerd_client/_proto
PROTOC := $(BIN)/python -m grpc_tools.protoc -I ledgerd_client/_proto=proto/ledger/v1
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Else each of the many processes that tests start compiles all of the code again.
unexport PYTHONDONTWRITEBYTECODE
# Tests write to memory where it has 4 GB: a sync costs nothing there, and kill -9 takes nothing.
# Those of faults want a disk, so that a kill falls in a commit.
MEMORY := $(shell exec 2>/dev/null; [ "$$(df --output=avail /dev/shm | tail -n 1)" -gt 4000000 ] && echo /dev/shm)
test mutants adversary client-only: export TMPDIR ?= $(MEMORY)

.PHONY: help setup demo test lint proto lock bench bench-reading bench-scale scenarios mutants client-only \
	standby adversary stateful model interop deb deb-test fuzz \
	release audit-deps

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## make .venv with everything pinned

$(STAMP): requirements/dev.txt pyproject.toml client/pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e ./client -e .
	touch $@

demo: setup  ## two nodes, five transfers, two lies caught, a contract's life, regulators, a lying node, a lost disk
	PYTHONPATH=tests $(BIN)/python -m demo.play

test: setup  ## the whole suite
	$(BIN)/python -m pytest -q

lint: setup  ## ruff, mypy, import-linter, buf, and whether generated code is fresh
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/buf lint && $(BIN)/buf format --diff --exit-code
	$(MAKE) --no-print-directory proto && git diff --exit-code -- $(PROTO)

proto: setup  ## generate code from proto/
	$(PROTOC) --python_out=client --mypy_out=client ledgerd_client/_proto/body.proto ledgerd_client/_proto/service.proto ledgerd_client/_proto/status.proto
	$(PROTOC) --grpc_python_out=client --mypy_grpc_out=client ledgerd_client/_proto/service.proto

lock:  ## pin requirements/*.in anew (needs uv)
	for f in node dev client-test fuzz audit; do uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-header requirements/$$f.in -o requirements/$$f.txt; done

bench: setup  ## the machine's floors and our ratios, into build/bench.json
	PYTHONPATH=tests $(BIN)/python -m bench.run

bench-reading: setup  ## pages, proofs and reports at a million entries, over ten thousand; into build/bench.json
	PYTHONPATH=tests $(BIN)/python -m bench.reading

bench-scale: setup  ## appends, memory and disk at ten million entries, over ten thousand; 25 GB, half an hour
	PYTHONPATH=tests $(BIN)/python -m bench.scale

scenarios: setup  ## a year on both nodes, 200,000 transfers: every rule finds what was planted, and nothing else
	PYTHONPATH=tests $(BIN)/python -m scenarios.run

mutants: setup  ## break each promise by one line; a named test must turn red
	$(BIN)/python tests/mutants/run.py

adversary: setup  ## a node that lies in every way we know, against an honest one: each lie is met
	$(BIN)/python -m pytest -q tests/adversary

.PHONY: faults soak
# CUTS: losses of power, 500 of them now and then; KILLS: kill -9 under load
CUTS := 100
KILLS := 50
faults: setup  ## everything below a node breaks: disk, power, network, clock; nothing acknowledged is lost
	$(BIN)/python -m pytest -q tests/faults --cuts=$(CUTS) --kills=$(KILLS)

SECONDS := 1800
soak: setup  ## half an hour of load with rotations, backups, kills and partitions; memory flat in the end
	PYTHONPATH=tests $(BIN)/python -m faults.soak $(SECONDS)

stateful: setup  ## two nodes through crashes, backups, restores and recoveries in any order, 2,000 times
	$(BIN)/python -m pytest -q tests/stateful

model: setup  ## the protocol as a model: every order of steps, and each guard removed (needs spin and gcc)
	$(BIN)/python tests/model/run.py

fuzz: build/atheris  ## every parser and method with 20,000 examples each (1,000 where a call waits), then parsers by coverage for ten minutes
	EXAMPLES=20000 $(BIN)/python -m pytest -q tests/fuzz
	PYTHONPATH=tests:build/atheris $(BIN)/python -m fuzz.coverage build/fuzz-corpus -max_total_time=600

build/atheris: requirements/fuzz.txt setup
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --upgrade --target $@ -r $<

release: setup  ## sdists, wheels, SBOM and checksums of this commit, in build/release; the same bytes each time (no .deb: that is `make deb`)
	bash deploy/build-release.sh

audit-deps: build/pip-audit  ## known advisories about what a node runs with, where a source of them can be reached
	PYTHONPATH=build/pip-audit $(BIN)/python deploy/audit_deps.py

build/pip-audit: requirements/audit.txt setup
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --upgrade --target $@ -r $<

interop: setup  ## other people's tools check a live border and its published tiles
	PYTHONPATH=tests $(BIN)/python -m interop.live.run

deb: setup  ## the Debian package, into build/deb (needs debhelper)
	bash deploy/build-deb.sh

deb-test: setup  ## the package on clean machines under systemd: installed, upgraded, taken over by a standby, removed (needs root, debhelper, lintian, debootstrap)
	$(BIN)/python -m pytest -q tests/deb

standby: setup  ## the primary's disk dies under load: its standby goes on, and the time that took is printed
	$(BIN)/python -m pytest -q -s tests/e2e/test_standby.py

client-only: setup  ## the SDK in an environment of its own: no lmdb, no daemon
	bash tests/client_only.sh
