# Every target makes its own set-up first: a virtual environment with the versions of
# constraints.txt, made again only when that file or pyproject.toml has changed.

PYTHON ?= python3
VENV := $(if $(filter system,$(TORCH)),.venv-system,.venv)
LABKIT := $(VENV)/bin/labkit

parameters = $(if $(WORLD_SIZE),-p world_size $(WORLD_SIZE)) $(if $(BACKEND),-p backend $(BACKEND)) \
	$(if $(DEVICE),-p device $(DEVICE)) $(if $(SEED),-p seed $(SEED)) $(if $(FAST),-p fast $(FAST))
CHECK_FLAG = $(if $(filter-out 0,$(CHECK)),--check)

.DEFAULT_GOAL := help
.PHONY: help setup lab run test test-fast test-long bench notebooks clean

help:
	@$(PYTHON) .ci/help.py

setup:
	@$(PYTHON) .ci/environment.py $(TORCH)

lab: setup
	@$(LABKIT) lab $(if $(PORT),--port $(PORT))

run: setup
	$(LABKIT) run $(NB) $(parameters)

test: setup
	@$(VENV)/bin/python .ci/test.py all

test-fast: setup
	@$(VENV)/bin/python .ci/test.py fast

test-long: setup
	@$(VENV)/bin/python .ci/test.py long

bench: setup
	$(LABKIT) bench all $(CHECK_FLAG)

notebooks: setup
	$(LABKIT) notebooks build $(NB) $(if $(filter-out 0,$(FORCE)),--force)

clean:
	@$(PYTHON) .ci/clean.py
