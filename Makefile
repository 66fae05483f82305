# Train, evaluate and serve a LoRA. `make help` lists the commands.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON3 ?= python3
# The index of the CPU build of torch, if pip's default index has another build: make setup TORCH_INDEX=<url>
TORCH_INDEX ?=

# A container image has its packages in the folder VENV already and needs no setup.
VENV ?= .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
PINS := training/requirements.base.txt training/requirements.cpu.txt training/requirements.dev.txt
# The device container images are built for: cpu, or cuda if there is an NVIDIA GPU.
DEVICE ?= $(if $(shell command -v nvidia-smi),cuda,cpu)
# Several processes of one thread each use the cores better than one process of several threads.
TEST_PROCESSES ?= 2
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal
SOURCES := foundation training zthumb evaluation miniature benchmarks docker examples scripts tests

.PHONY: help setup finetune_z test check lint format mini_base grade_mini check_demo check_portable bench_train bench_prepare bench_serve soak bench_variants bench_steps bench_settings bench_client bench_race bench_gpu bench_concepts client docs lock docker_build docker_finetune_z docker_check clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z_]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ifneq ($(VENV),.venv)
READY :=
endif

setup: $(READY) ## create .venv with pinned packages; a second call does nothing

$(VENV)/.ready: $(PINS) pyproject.toml
	@$(PYTHON3) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; choose one with PYTHON3=…")'
	@$(PYTHON3) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON3) cannot create environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON3) -m venv --clear $(VENV)
	@echo "setup: installing the pinned packages into $(VENV)"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r training/requirements.dev.txt
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

finetune_z: setup ## images → adapter → report  [RECIPE=mini] [DATASET=datasets/z] [TRIGGER=word] [RUN=name] [SET="steps=800"] [PROMPTS=file] [FORCE=1] [SKIP_BAD=1] [ALLOW_MISSING_CAPTIONS=1]
	@PYTHON=$(PYTHON) scripts/finetune_z.sh

test: setup ## run every test  [TEST_PROCESSES=2]
	@$(PYTEST)

check: lint ## run lint, type checks and the fast tests
	@$(PYTEST) -m "not slow"

lint: setup ## run linters and type checks
	@$(VENV)/bin/ruff check $(SOURCES)
	@$(VENV)/bin/ruff format --check $(SOURCES)
	@$(VENV)/bin/mypy
	@$(VENV)/bin/hadolint training/Dockerfile.cpu training/Dockerfile.cuda docker/server.Dockerfile

format: setup ## format the code with ruff
	@$(VENV)/bin/ruff check --fix $(SOURCES)
	@$(VENV)/bin/ruff format $(SOURCES)

mini_base: setup ## train models/mini-* from their seed; resumable, meant for a GPU: two cores take very long
	@$(PYTHON) -m miniature build

grade_mini: setup ## grade the miniature bases by geometry: do images show what their prompts say?
	@$(PYTHON) -m miniature grade

check_demo: setup ## check a report's images of the demo concept by geometry  RUN=name [SHAPE=letter-z]
	@$(PYTHON) -m miniature check-demo --run "$(RUN)" --shape "$(or $(SHAPE),letter-z)"

bench_concepts: setup ## train and evaluate the default recipe on concepts it was not tuned on  → outputs/bench/concepts  [CONCEPTS="bolt figure"]
	@PYTHON=$(PYTHON) scripts/trials.sh

check_portable: setup ## train the demo so that every processor gives the same bytes, and compare with the committed hash
	@$(PYTHON) -m training.check_portable

bench_train: setup ## measure seconds per training step, against a plain loop and next to a busy process  → outputs/bench/{train,busy}.json
	@$(PYTHON) -m training.prepare_dataset --dataset datasets/z
	@$(PYTHON) -m benchmarks.training.train
	@$(PYTHON) -m benchmarks.training.busy

bench_prepare: setup ## measure the preparation of 1,000 images of 12 megapixels  → outputs/bench/prepare.json
	@$(PYTHON) -m benchmarks.training.prepare

bench_race: setup ## this project and its peers in turns, at equal work  → outputs/bench/race.json
	@$(PYTHON) -m training.prepare_dataset --dataset datasets/z --recipe mini
	@$(PYTHON) -m benchmarks.race.race

bench_serve: setup ## measure the server's overhead and the time to change adapters  → outputs/bench/serve.json
	@$(PYTHON) -m benchmarks.serving.serve

soak: setup ## measure the server's memory over 2,000 requests with 50 adapters  → outputs/bench/soak.json
	@$(PYTHON) -m benchmarks.serving.soak

bench_variants: setup ## measure memory and image error of quantized denoisers  → outputs/bench/variants.json
	@$(PYTHON) -m benchmarks.serving.variants

bench_steps: setup ## measure image error and time of step caches, guidance intervals and fewer steps  → outputs/bench/steps.json
	@$(PYTHON) -m benchmarks.serving.steps

bench_settings: setup ## measure what channels-last, compiling and tiles do  → outputs/bench/settings.json
	@$(PYTHON) -m benchmarks.serving.settings

bench_client: setup ## measure how long pages take to appear in a browser  → outputs/bench/pages.json
	@$(PYTHON) -m benchmarks.client.pages

bench_gpu: setup ## measure full-size SDXL with random weights on an NVIDIA GPU  → outputs/bench/gpu.json
	@$(PYTHON) -m benchmarks.training.gpu
	@$(PYTHON) -m benchmarks.serving.gpu

client: setup ## build the web client anew with the pinned Node  → zthumb/client/dist
	@$(PYTHON) scripts/client.py install types check build

docs: setup ## build the documentation site  → outputs/site
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet && echo "outputs/site/index.html"

lock: setup ## write docker/locks/*.txt from the pinned versions  [TORCH_WHEELS=folder or page of CPU builds of torch]
	@$(PYTHON) docker/lock.py $(TORCH_WHEELS)

docker_build: ## build the container images: the server, and training for this machine  [DEVICE=cpu|cuda]
	docker build --file docker/server.Dockerfile --build-arg DEVICE=$(DEVICE) $(if $(filter cuda,$(DEVICE)),--build-arg TORCH_WHEELS=) --tag zthumb-server:$(DEVICE) .
	docker build --file training/Dockerfile.$(DEVICE) --tag zthumb-training:$(DEVICE) .

docker_finetune_z: docker_build ## run finetune_z in a container  [RECIPE=… DATASET=… RUN=… as there]
	docker run --rm --init $(if $(filter cuda,$(DEVICE)),--gpus all) --user "$$(id -u):$$(id -g)" --env HOME=/tmp \
	  --env HF_TOKEN --env CIVITAI_API_KEY --env HF_HUB_OFFLINE \
	  $(foreach name,RECIPE DATASET TRIGGER RUN PROMPTS SET FORCE SKIP_BAD ALLOW_MISSING_CAPTIONS,$(if $($(name)),--env $(name)="$($(name))")) \
	  --volume "$(CURDIR)/datasets:/app/datasets" --volume "$(CURDIR)/models:/app/models" --volume "$(CURDIR)/outputs:/app/outputs" \
	  zthumb-training:$(DEVICE)

docker_check: setup ## build the CPU images without Docker and run them: a short training, and a server  [TORCH_WHEELS=folder]
	@$(PYTHON) docker/check.py $(if $(TORCH_WHEELS),--torch-wheels $(TORCH_WHEELS))

clean: ## remove runs, reports and prepared data sets, but not .venv or models
	rm -rf outputs/lora outputs/lora_eval outputs/cache datasets/*/prepared datasets/*/dataset.json datasets/*/preview.png datasets/*/counts.json datasets/*/manifest.json
