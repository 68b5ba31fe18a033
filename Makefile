# Every target makes its own set-up first: a virtual environment with the versions of
# constraints.txt, made again only when that file or pyproject.toml has changed.

PYTHON ?= python3
VENV := $(if $(filter system,$(TORCH)),.venv-system,.venv)
LABKIT := $(VENV)/bin/labkit

parameters = $(if $(WORLD_SIZE),-p world_size=$(WORLD_SIZE)) $(if $(BACKEND),-p backend=$(BACKEND)) \
	$(if $(DEVICE),-p device=$(DEVICE)) $(if $(SEED),-p seed=$(SEED)) $(if $(FAST),-p fast=$(FAST))
CHECK_FLAG = $(if $(filter-out 0,$(CHECK)),--check)

.DEFAULT_GOAL := help
.PHONY: help setup lab run test test-fast test-long test-gpu bench notebooks clean

define HELP
A lab for fault tolerance in distributed training.

  make lab         open JupyterLab on notebook 00; without a screen, print its address and token
  make run         run the notebooks without a browser, into runs/<time>/index.html
  make test        everything that must hold, about twenty minutes on two cores
  make test-fast   lint, types and the quick tests, under 90 seconds
  make test-long   the tests that take minutes, and the notebooks with their solutions
  make test-gpu    what needs GPUs, into runs/gpu-report.txt; says what these cannot show
  make bench       measure the figures of the README, into runs/<time>/
  make notebooks   build the notebooks whose source in notebooks/src has changed
  make setup       only what each of these does first: install into .venv
  make clean       remove what make made; my-notebooks/ with your answers stays

Variables, as in `make run NB=02 WORLD_SIZE=8`:

  NB=02            one notebook, by its number or file          (run, notebooks)
  WORLD_SIZE=8     how many workers                             (run)
  BACKEND=gloo     gloo, nccl or auto                           (run)
  DEVICE=cpu       cpu, cuda or auto                            (run)
  SEED=3           of everything that is drawn by chance        (run, test-long)
  FAST=True        shorter runs, fewer points                   (run)
  CHECK=1          fail where a figure misses its target        (bench)
  FORCE=1          build also what has not changed              (notebooks)
  PORT=8888        instead of any free port                     (lab)
  PYTHON=python3.12  the Python to install with, 3.11 or newer  (all)
  TORCH=cpu        only a CPU build of torch, from the index that PIP_EXTRA_INDEX_URL names
                   (asked for once, kept from then on); 0.4 GB instead of 3 GB on Linux
  TORCH=system     the torch that this container or module has; none of its packages is changed
endef

help:
	@$(info $(HELP)):

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
	@LABKIT_CHAOS_SEED=$(SEED) $(VENV)/bin/python .ci/test.py long

test-gpu: setup
	@$(VENV)/bin/python .ci/test.py gpu

bench: setup
	$(LABKIT) bench all $(CHECK_FLAG)

notebooks: setup
	$(LABKIT) notebooks build $(NB) $(if $(filter-out 0,$(FORCE)),--force)

clean:
	rm -rf .venv .venv-system runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find labkit tests .ci notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
