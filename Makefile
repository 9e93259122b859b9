# The front door. `make` alone lists what can be done.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MEDIA ?=
LOCK := --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
export PYTHONDONTWRITEBYTECODE = 1

.DEFAULT_GOAL := help
.PHONY: help setup run up down test test-services test-image lint docs lock accuracy search-accuracy variants benchmark-speed benchmark-index benchmark-service reliability train-material train-setup train-smoke train-speaking train-faces train-embedder clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

setup: $(VENV)/.ready  ## a private Python environment in .venv with all that is needed; once

$(VENV)/.ready: requirements/cpu.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Rollcall needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing. On Debian: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/cpu.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

run: setup  ## the main job on MEDIA=folder, or on demo programmes made on the spot
	@$(BIN)/rollcall $(if $(MEDIA),ingest "$(MEDIA)" --show,demo)

up: setup  ## the whole service on this machine: PostgreSQL, Prefect, the pages, a worker, the schedule
	@$(BIN)/rollcall up --service

down: setup  ## end it
	@$(BIN)/rollcall down

test: setup  ## all tests that need no GPU, no servers from Debian's packages and no hours
	$(BIN)/python -m pytest -q -m "not servers"

test-services: setup  ## tests with a real S3 server, PostgreSQL and Prefect server, but the fault suite (make reliability); apt install radosgw ceph-mon ceph-osd postgresql postgresql-contrib prometheus libfaketime
	$(BIN)/python -m pytest -q -m servers --require-servers --ignore=tests/services/test_faults.py

test-image:  ## the steps of infra/docker/Dockerfile without an engine: a fresh environment from its lock, and the program that it gives
	sh infra/docker/try_install.sh

lint: setup  ## formatter, linter, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  ## docs/commands.md and docs/settings.md from the code
	$(BIN)/python -m docs.reference

lock: setup  ## resolve the version ranges of pyproject.toml anew into requirements/*.lock
	$(BIN)/uv pip compile $(LOCK) --extra cpu --extra demo --extra evaluate --extra dev pyproject.toml -o requirements/cpu.lock
	$(BIN)/uv pip compile $(LOCK) --extra cpu --extra build --constraint requirements/cpu.lock pyproject.toml -o requirements/serve.lock
	$(BIN)/uv pip compile $(LOCK) --extra gpu --extra build pyproject.toml -o requirements/gpu.lock
	$(BIN)/uv pip compile $(LOCK) --extra cpu --extra train --constraint requirements/cpu.lock pyproject.toml -o requirements/train.lock

accuracy: setup  ## docs/accuracy.md: the line beside the reference recipe, and every network by itself, on ../shared/media
	$(BIN)/python -m benchmarks.accuracy
	$(BIN)/python -m benchmarks.networks

search-accuracy: setup  ## docs/search.md: each test photograph against a library of the labelled clips
	$(BIN)/python -m benchmarks.search

variants: setup  ## docs/variants.md: one clip in many containers, codecs, rates and geometries gives the same turns
	$(BIN)/python -m benchmarks.variants

benchmark-speed: setup  ## speed, share of the floor, memory, ratio to the reference recipe
	$(BIN)/python -m benchmarks.speed

benchmark-index: setup  ## docs/index.md: the vector index with a million vectors; minutes, 6 GB of memory, 9 GB of disk
	$(BIN)/python -m benchmarks.index

reliability: setup  ## docs/reliability.md: what becomes of a library when something fails under the service; needs what test-services needs, and libfaketime
	$(BIN)/python -m benchmarks.reliability

benchmark-service: setup  ## docs/service.md: damaged media, what the services cost, two workers, memory; needs what test-services does; hours
	$(BIN)/python -m benchmarks.service

train-material:
	@test -d ../shared/train -a -d ../shared/models || { echo "Training needs ../shared/train and ../shared/models beside this checkout: training/README.md" >&2; exit 1; }

train-setup: $(VENV)/.ready-to-train

$(VENV)/.ready-to-train: $(VENV)/.ready requirements/train.lock
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/train.lock
	@touch $@

train-smoke: train-material train-setup  ## each role's recipe on a tiny subset: prepare, a few steps, export, ONNX against PyTorch
	$(BIN)/python -m training.speaking smoke
	$(BIN)/python -m training.faces smoke
	$(BIN)/python -m training.embedder smoke
	$(BIN)/python -m training.voice smoke

train-speaking: train-material train-setup  ## the whole recipe of rollcall-sync, hours: data, network, ONNX, held-out people
	for step in prepare train export evaluate; do $(BIN)/python -m training.speaking $$step || exit 1; done

train-faces: train-material train-setup  ## likewise rollcall-face
	for step in prepare train export evaluate; do $(BIN)/python -m training.faces $$step || exit 1; done

train-embedder: train-material train-setup  ## likewise rollcall-id
	for step in prepare train export evaluate; do $(BIN)/python -m training.embedder $$step || exit 1; done

clean:  ## forget the environment and all that was made here
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
