# The container's packages: the project's own pins and CUDA as wheels, without what only the tests need.
.PHONY: lock-gpu
lock-gpu:
	uv pip compile --quiet --universal --generate-hashes --extra gpu --no-emit-index-url --custom-compile-command "make lock-gpu" pyproject.toml -o requirements-gpu.lock
