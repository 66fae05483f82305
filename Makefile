# Pictures in, a judged LoRA out. `make help` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON3 ?= python3
# Where pip finds the CPU build of torch, if its default index holds another: make setup TORCH_INDEX=<url>
TORCH_INDEX ?=

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
PINS := training/requirements.base.txt training/requirements.cpu.txt training/requirements.dev.txt
# Several processes of one thread each share the cores better than one process of several threads.
TEST_PROCESSES ?= 2
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal
SOURCES := foundation training zthumb evaluation scripts tests

.PHONY: help setup finetune_z test check lint format mini_base grade_mini check_demo bench_train bench_prepare bench_serve soak bench_variants bench_gpu clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z_]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with every package pinned; a second call does nothing

$(READY): $(PINS) pyproject.toml
	@$(PYTHON3) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; choose one with PYTHON3=…")'
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON3) -m venv --clear $(VENV)
	@echo "setup: installing the pinned packages into $(VENV)"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r training/requirements.dev.txt
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $(READY)

finetune_z: setup ## pictures → adapter → report  [RECIPE=mini] [DATASET=datasets/z] [RUN=name] [FORCE=1] [SKIP_BAD=1] [ALLOW_MISSING_CAPTIONS=1]
	@scripts/finetune_z.sh

test: setup ## every test  [TEST_PROCESSES=2]
	@$(PYTEST)

check: lint ## lint, types and the fast tests
	@$(PYTEST) -m "not slow"

lint: setup ## lint and types
	@$(VENV)/bin/ruff check $(SOURCES)
	@$(VENV)/bin/ruff format --check $(SOURCES)
	@$(VENV)/bin/mypy

format: setup ## let ruff put the code in order
	@$(VENV)/bin/ruff check --fix $(SOURCES)
	@$(VENV)/bin/ruff format $(SOURCES)

mini_base: setup ## make models/mini-sdxl and models/mini-clip again from their seed; resumable, a few hours on two cores
	@$(PYTHON) -m training.mini_base build

grade_mini: setup ## grade models/mini-sdxl by geometry: does it paint what its prompt says?
	@$(PYTHON) -m training.mini_base grade

check_demo: setup ## check a report's pictures of the demo concept by geometry  RUN=name [SHAPE=letter-z]
	@$(PYTHON) -m training.mini_base check-demo --run "$(RUN)" --shape "$(or $(SHAPE),letter-z)"

bench_train: setup ## seconds per training step, beside a plain loop  → outputs/bench/train.json
	@$(PYTHON) -m training.prepare_dataset --dataset datasets/z
	@$(PYTHON) -m training.benchmark.train

bench_prepare: setup ## how long 1,000 pictures of 12 megapixels take to prepare  → outputs/bench/prepare.json
	@$(PYTHON) -m training.benchmark.prepare

bench_serve: setup ## what the server adds to a picture, how fast adapters change  → outputs/bench/serve.json
	@$(PYTHON) -m zthumb.benchmark.serve

soak: setup ## 2,000 requests with 50 adapters, and the server's memory meanwhile  → outputs/bench/soak.json
	@$(PYTHON) -m zthumb.benchmark.soak

bench_variants: setup ## what fewer bits spare in memory and change in pictures  → outputs/bench/variants.json
	@$(PYTHON) -m zthumb.benchmark.variants

bench_gpu: setup ## full-size SDXL with random weights on an NVIDIA GPU  → outputs/bench/gpu.json
	@$(PYTHON) -m training.benchmark.gpu
	@$(PYTHON) -m zthumb.benchmark.gpu

clean: ## remove runs, reports and prepared data sets, but neither .venv nor models
	rm -rf outputs/lora outputs/lora_eval outputs/cache datasets/*/prepared datasets/*/dataset.json datasets/*/preview.png datasets/*/counts.json datasets/*/manifest.json
