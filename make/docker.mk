# The container's packages: the project's own pins and CUDA as wheels, without what only the tests need.
.PHONY: lock-gpu
lock-gpu:
	uv pip compile --quiet --universal --generate-hashes --extra gpu --no-emit-index-url --custom-compile-command "make lock-gpu" pyproject.toml -o requirements-gpu.lock

# Does TensorFlow find the CUDA libraries of that lock? In an environment of its own, 6.4 GB; needs no GPU.
GPU_LOCK_ENV ?= /tmp/webvision-gpu-lock
.PHONY: check-gpu-lock
check-gpu-lock: $(GPU_LOCK_ENV)/.installed
	$(GPU_LOCK_ENV)/bin/python -P tests/soak/gpu_lock.py
	@echo "rm -rf $(GPU_LOCK_ENV) frees its 6.4 GB"

$(GPU_LOCK_ENV)/.installed: requirements-gpu.lock
	$(PYTHON) -I -m venv $(GPU_LOCK_ENV)
	$(GPU_LOCK_ENV)/bin/python -I -m pip install --disable-pip-version-check --quiet --only-binary :all: --require-hashes -r requirements-gpu.lock
	touch $@
