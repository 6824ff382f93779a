# Needs make and Python 3.11 to 3.13; everything else is fetched into .venv, pinned by hash. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := -I -m pip install --disable-pip-version-check --quiet --only-binary :all: --require-hashes
# cpu or gpu, by the driver that is here; GPU=0 and GPU=1 override. A machine that gets a GPU changes over with the next make.
KIND := $(shell $(PYTHON) -I -c 'import sys; sys.version_info < (3, 11) and sys.exit(); sys.path.insert(0, "."); from webvision.machine import choose_lock; choose_lock.main(sys.argv[1:])' $(GPU))
INSTALLED := $(VENV)/.installed-$(KIND)
LOCKS := requirements.lock $(if $(filter gpu,$(KIND)),requirements-gpu.lock)
DECODER := $(VENV)/.decoder
UV_COMPILE := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url

# What tests/, soaks and benchmarks take
T ?=
# Processes that share the whole of them, file by file
JOBS ?= 2
KILLS ?= 300
ROUNDS ?= 30
SEED ?= 1
SECONDS ?= 60
FASHION ?= /usr/share/datasets/fashion-mnist
LEARN_WORK ?= /tmp/webvision-learn
TORCH_ENV ?= /tmp/webvision-torch
GPU_LOCK_ENV ?= /tmp/webvision-gpu-lock
# The rooms that never start TensorFlow
QUICK := tests/lists tests/pictures tests/views tests/scoring tests/docs/test_examples.py tests/docs/test_makefile.py \
	tests/test_imports.py tests/test_files.py tests/test_progress.py
# Folders whose public functions are typed: what other programs import. Grows until it is all of webvision/data.
TYPED := webvision/data/__init__.py webvision/data/data_set.py webvision/data/feeding.py webvision/data/views webvision/data/pictures

.DEFAULT_GOAL := setup
.PHONY: help setup demo demo-own tutorial test quick lint types test-torch test-browser test-backbones docs clean \
	bench-input bench-list bench-read bench-scale bench-scoring bench-step bench-wait learn \
	fuzz soak-archives soak-check soak-disk soak-download soak-kill soak-memory soak-preprocess check-gpu-lock gpu-check lock lock-gpu lock-docs

help: ## this list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ To use it
setup: $(INSTALLED) $(DECODER) ## install everything into .venv, with CUDA where an NVIDIA driver is (GPU=0, GPU=1 override)

# The stamp holds until the lock changes, so the second `make` starts at once.
$(INSTALLED): $(LOCKS)
	@$(PYTHON) -I -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); sys.exit(0 if ok else "Python %d.%d found; 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -I -m venv $(VENV)
	$(PY) $(PIP) $(addprefix -r ,$(LOCKS))
	@rm -f $(VENV)/.installed-*
	touch $@

# The compiled JPEG decoder. Without a compiler the stamp is made all the same; the line printed says what decodes instead.
$(DECODER): $(INSTALLED) $(wildcard webvision/data/native/*.[ch]) webvision/data/native/build.py
	@PYTHONPATH=$(CURDIR) $(PY) -P -m webvision.data.native.build
	@touch $@

demo: setup ## the whole road on a small data set that it draws: 3 minutes; continues in demo/ when given again
	$(PY) utils/demo.py

demo-own: setup ## from a folder of pictures to a checked model, by classification/'s commands: under 4 minutes, in demo-own/
	PYTHONPATH=$(CURDIR) $(PY) -P -m webvision demo-own

tutorial: setup ## classification/tutorial/tutorial.ipynb, from README.md beside it
	$(PY) classification/tutorial/make_notebook.py

##@ To change it
test: setup ## every test, or those of a room: make test T=tests/lists
	$(PY) -P -m pytest $(or $(T),-n $(JOBS) --dist loadfile)

quick: setup ## rooms without TensorFlow (lists, pictures, views, scoring, docs, walls): about a minute
	$(PY) -P -m pytest $(QUICK)

lint: setup ## ruff's format and rules, and mypy over the rooms that other programs import
	$(PY) -P -m ruff format --check --quiet . || { echo "not formatted: $(PY) -m ruff format ." >&2; exit 1; }
	$(PY) -P -m ruff check --quiet .
	@$(MAKE) --no-print-directory types

types: ## the part of lint that reads types
	$(PY) -P -m ruff check --quiet --select ANN201,ANN206 $(TYPED)
	$(PY) -P -m mypy $(TYPED)

docs: $(VENV)/.docs ## the site, into build/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(PY) -P -m mkdocs build --strict --quiet

$(VENV)/.docs: requirements-docs.lock $(INSTALLED)
	$(PY) $(PIP) -r requirements-docs.lock
	@touch $@

test-torch: $(TORCH_ENV)/.installed ## ObjectNet and the examples with a real PyTorch, in an environment of its own
	$(TORCH_ENV)/bin/python -P -m pytest --noconftest tests/torch/*.py

$(TORCH_ENV)/.installed: pyproject.toml
	$(PYTHON) -I -m venv $(TORCH_ENV)
	$(TORCH_ENV)/bin/python -I docs/extras.py torch | $(TORCH_ENV)/bin/python -I -m pip install --disable-pip-version-check --quiet --only-binary :all: -r /dev/stdin
	touch $@

# Installs nothing: on Debian, `apt-get install chromium chromium-driver` provides both.
test-browser: setup ## the report in headless Chromium
	@command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null || \
		{ echo "make test-browser needs chromium and chromedriver on the PATH (Debian: apt-get install chromium chromium-driver)" >&2; exit 2; }
	$(PY) -P -m pytest tests/soak/browser_report.py tests/soak/browser_serve.py

clean: ## remove .venv, build/, demo/ and demo-own/
	rm -rf $(VENV) build demo demo-own

##@ To measure it
bench-input: setup ## loaders beside each other, CPU time a picture; BENCH="--quick" or "--extras-python FILE" for FFCV, DALI, torch
	$(PY) benchmarks/bench_input.py $(BENCH)

bench-list: setup ## lists of millions of rows
	$(PY) benchmarks/bench_list.py

bench-read: setup ## what read_image costs beyond a bare decode
	$(PY) benchmarks/bench_read.py

bench-scale: setup ## lists, orders and archives' indexes at 100 million rows; 7 GB of disk
	$(PY) benchmarks/bench_scale.py

bench-scoring: setup ## 50,000 x 1,000 scores beside scikit-learn; 290,000 predictions as a stream
	$(PY) benchmarks/bench_scoring.py

bench-step: setup ## ResNet-50 on the CPU: our step, a bare session's, tf_keras's; prediction, also by ONNX Runtime
	$(PY) benchmarks/bench_step.py

bench-wait: setup ## the share of time that training waits for data; ten minutes; WAIT="--rounds 1"
	$(PY) benchmarks/bench_wait.py $(WAIT)

learn: setup ## noisy labels: arms of recipes, three seeds, a table; hours, goes on when given again; LEARN="--arms card,oracle,web"
	@test -d $(FASHION) || { echo "$(FASHION) is not there: apt-get install dataset-fashion-mnist, or make learn FASHION=DIR"; exit 1; }
	$(PY) -m benchmarks.learn.run --fashion $(FASHION) --work $(LEARN_WORK) $(LEARN)

##@ To break it (minutes each; KILLS=300 SEED=1 SECONDS=60)
fuzz: setup ## mutated image bytes, tar headers, list lines and indexes, SECONDS each
	$(PY) tests/soak/fuzz.py --seconds $(SECONDS) --seed $(SEED)

soak-check: setup ## check.py over many data sets with known faults
	$(PY) tests/soak/soak_check.py

soak-download: setup ## kill -9 over download, unpack and arrange
	$(PY) tests/soak/prep_soak.py download --kills $(KILLS) --seed $(SEED)

soak-preprocess: setup ## kill -9 over preprocess.py
	$(PY) tests/soak/prep_soak.py preprocess --kills $(KILLS) --seed $(SEED)

soak-disk: setup ## disks that fill in training, of every size (needs to mount); a few minutes
	$(PY) -P tests/soak/disk_soak.py --rounds $(ROUNDS) --seed $(SEED)

soak-kill: setup ## kill -9 over trainings and evaluations; a quarter of an hour
	$(PY) tests/soak/kill_soak.py --kills $(KILLS) --seed $(SEED)

soak-archives: setup ## kill -9 over packing, indexing and reading from archives; ten minutes
	$(PY) -P tests/soak/archive_soak.py --kills $(KILLS) --seed $(SEED)

soak-memory: setup ## 20,000 steps: memory and descriptors must not grow
	$(PY) tests/soak/memory_soak.py

test-backbones: setup ## every backbone against PyTorch's figures and logits; trained, saved, exported; half an hour
	$(PY) -P -m pytest tests/soak/backbones.py

gpu-check: setup ## all that only a GPU can tell, 8 minutes, goes on when given again; GPU_CHECK="--wheels DIR"; also without a GPU
	$(PY) -P benchmarks/gpu_check.py $(GPU_CHECK)

check-gpu-lock: $(GPU_LOCK_ENV)/.installed ## does TensorFlow find the CUDA libraries of its lock? 6.4 GB; needs no GPU
	$(GPU_LOCK_ENV)/bin/python -P tests/soak/gpu_lock.py
	@echo "rm -rf $(GPU_LOCK_ENV) frees its 6.4 GB"

$(GPU_LOCK_ENV)/.installed: requirements-gpu.lock
	$(PYTHON) -I -m venv $(GPU_LOCK_ENV)
	$(GPU_LOCK_ENV)/bin/python $(PIP) -r requirements-gpu.lock
	touch $@

##@ After editing the pins in pyproject.toml (needs uv)
lock: ## requirements.lock: what runs and tests it
	$(UV_COMPILE) --extra dev --custom-compile-command "make lock" pyproject.toml -o requirements.lock

# The container's packages: the project's own pins and CUDA as wheels, without what only the tests need.
lock-gpu: ## requirements-gpu.lock: the same with CUDA
	$(UV_COMPILE) --extra gpu --custom-compile-command "make lock-gpu" pyproject.toml -o requirements-gpu.lock

lock-docs: ## requirements-docs.lock: what builds the site
	$(PY) -I docs/extras.py docs | $(UV_COMPILE) --custom-compile-command "make lock-docs" - -o requirements-docs.lock
