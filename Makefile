# `make demo` and `make test` need Python 3.11-3.13 and make; everything else is fetched into .venv, pinned by hash.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# cpu or gpu, by the driver that is here; GPU=0 and GPU=1 override. A machine that gets a GPU changes over with the next make.
KIND := $(shell $(PYTHON) -I -c 'import sys; sys.path.insert(0, "."); from webvision.machine import choose_lock; choose_lock.main(sys.argv[1:])' $(GPU))
INSTALLED := $(VENV)/.installed-$(KIND)
LOCKS := requirements.lock $(if $(filter gpu,$(KIND)),requirements-gpu.lock)

.PHONY: setup demo test lock clean

all: setup

include $(wildcard make/*.mk)

setup: $(INSTALLED) $(DECODER)

# The stamp holds until a lock changes, so the second `make` starts at once.
$(INSTALLED): $(LOCKS)
	@$(PYTHON) -I -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); sys.exit(0 if ok else "Python %d.%d found; 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -I -m venv $(VENV)
	$(PY) -I -m pip install --disable-pip-version-check --quiet --only-binary :all: --require-hashes $(addprefix -r ,$(LOCKS))
	@rm -f $(VENV)/.installed-*
	touch $@

# The main job end to end on a data set that it draws; writes into demo/, continues there when run again.
demo: setup
	$(PY) utils/demo.py

test: setup
	$(PY) -P -m pytest

# After editing the pins in pyproject.toml (uv must be on the PATH).
lock:
	uv pip compile --quiet --universal --generate-hashes --extra dev --no-emit-index-url --custom-compile-command "make lock" pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) build demo
