# Images in, a judged LoRA out. `make help` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON3 ?= python3
# Where pip finds the CPU build of torch, if its default index holds another: make setup TORCH_INDEX=<url>
TORCH_INDEX ?=

# An image has its packages already, in a folder that VENV names, and nothing to set up.
VENV ?= .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
PINS := training/requirements.base.txt training/requirements.cpu.txt training/requirements.dev.txt
# What images are for: cpu, or cuda where there is an NVIDIA GPU.
DEVICE ?= $(if $(shell command -v nvidia-smi),cuda,cpu)
# Several processes of one thread each share the cores better than one process of several threads.
TEST_PROCESSES ?= 2
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal
SOURCES := foundation training zthumb evaluation miniature benchmarks docker scripts tests

.PHONY: help setup finetune_z test check lint format mini_base grade_mini check_demo check_portable bench_train bench_prepare bench_serve soak bench_variants bench_gpu bench_concepts lock docker_build docker_finetune_z docker_check clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z_]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ifneq ($(VENV),.venv)
READY :=
endif

setup: $(READY) ## make .venv with every package pinned; a second call does nothing

$(VENV)/.ready: $(PINS) pyproject.toml
	@$(PYTHON3) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; choose one with PYTHON3=…")'
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON3) -m venv --clear $(VENV)
	@echo "setup: installing the pinned packages into $(VENV)"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r training/requirements.dev.txt
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

finetune_z: setup ## images → adapter → report  [RECIPE=mini] [DATASET=datasets/z] [TRIGGER=word] [RUN=name] [FORCE=1] [SKIP_BAD=1] [ALLOW_MISSING_CAPTIONS=1]
	@PYTHON=$(PYTHON) scripts/finetune_z.sh

test: setup ## every test  [TEST_PROCESSES=2]
	@$(PYTEST)

check: lint ## lint, types and the fast tests
	@$(PYTEST) -m "not slow"

lint: setup ## lint and types
	@$(VENV)/bin/ruff check $(SOURCES)
	@$(VENV)/bin/ruff format --check $(SOURCES)
	@$(VENV)/bin/mypy
	@$(VENV)/bin/hadolint training/Dockerfile.cpu training/Dockerfile.cuda docker/server.Dockerfile

format: setup ## let ruff put the code in order
	@$(VENV)/bin/ruff check --fix $(SOURCES)
	@$(VENV)/bin/ruff format $(SOURCES)

mini_base: setup ## make models/mini-sdxl, -clip and -sdxl-turbo again from their seed; resumable, made for a GPU: two cores take very long
	@$(PYTHON) -m miniature build

grade_mini: setup ## grade models/mini-sdxl by geometry: does it generate what its prompt says?
	@$(PYTHON) -m miniature grade

check_demo: setup ## check a report's images of the demo concept by geometry  RUN=name [SHAPE=letter-z]
	@$(PYTHON) -m miniature check-demo --run "$(RUN)" --shape "$(or $(SHAPE),letter-z)"

bench_concepts: setup ## train and judge the defaults on concepts they were not tuned on  → outputs/bench/concepts  [CONCEPTS="bolt figure"]
	@PYTHON=$(PYTHON) scripts/trials.sh

check_portable: setup ## train the demo so that every processor gives the same bytes, and compare with those committed
	@$(PYTHON) -m training.check_portable

bench_train: setup ## seconds per training step, beside a plain loop and beside a busy process  → outputs/bench/{train,busy}.json
	@$(PYTHON) -m training.prepare_dataset --dataset datasets/z
	@$(PYTHON) -m benchmarks.training.train
	@$(PYTHON) -m benchmarks.training.busy

bench_prepare: setup ## how long 1,000 images of 12 megapixels take to prepare  → outputs/bench/prepare.json
	@$(PYTHON) -m benchmarks.training.prepare

bench_serve: setup ## what the server adds to an image, how fast adapters change  → outputs/bench/serve.json
	@$(PYTHON) -m benchmarks.serving.serve

soak: setup ## 2,000 requests with 50 adapters, and the server's memory meanwhile  → outputs/bench/soak.json
	@$(PYTHON) -m benchmarks.serving.soak

bench_variants: setup ## what fewer bits spare in memory and change in images  → outputs/bench/variants.json
	@$(PYTHON) -m benchmarks.serving.variants

bench_gpu: setup ## full-size SDXL with random weights on an NVIDIA GPU  → outputs/bench/gpu.json
	@$(PYTHON) -m benchmarks.training.gpu
	@$(PYTHON) -m benchmarks.serving.gpu

lock: setup ## write docker/locks/*.txt from the pins  [TORCH_WHEELS=where CPU builds of torch are]
	@$(PYTHON) docker/lock.py $(TORCH_WHEELS)

docker_build: ## build the images: the server, and training for this machine  [DEVICE=cpu|cuda]
	docker build --file docker/server.Dockerfile --build-arg DEVICE=$(DEVICE) $(if $(filter cuda,$(DEVICE)),--build-arg TORCH_WHEELS=) --tag zthumb-server:$(DEVICE) .
	docker build --file training/Dockerfile.$(DEVICE) --tag zthumb-training:$(DEVICE) .

docker_finetune_z: docker_build ## the same as finetune_z, in an image  [RECIPE=… DATASET=… RUN=… as there]
	docker run --rm --init $(if $(filter cuda,$(DEVICE)),--gpus all) --user "$$(id -u):$$(id -g)" --env HOME=/tmp \
	  --env HF_TOKEN --env CIVITAI_API_KEY --env HF_HUB_OFFLINE \
	  $(foreach name,RECIPE DATASET TRIGGER RUN PROMPTS SET FORCE SKIP_BAD ALLOW_MISSING_CAPTIONS,$(if $($(name)),--env $(name)="$($(name))")) \
	  --volume "$(CURDIR)/datasets:/app/datasets" --volume "$(CURDIR)/models:/app/models" --volume "$(CURDIR)/outputs:/app/outputs" \
	  zthumb-training:$(DEVICE)

docker_check: setup ## build the CPU images without Docker, and run them: training, and a server that generates  [TORCH_WHEELS=folder]
	@$(PYTHON) docker/check.py $(if $(TORCH_WHEELS),--torch-wheels $(TORCH_WHEELS))

clean: ## remove runs, reports and prepared data sets, but neither .venv nor models
	rm -rf outputs/lora outputs/lora_eval outputs/cache datasets/*/prepared datasets/*/dataset.json datasets/*/preview.png datasets/*/counts.json datasets/*/manifest.json
