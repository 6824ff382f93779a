# Data preparation: kill -9 soaks over download+unpack+arrange and over preprocess.py alone (minutes; not part of `make test`).
KILLS ?= 300
SEED ?= 1

.PHONY: soak-download soak-preprocess

soak-download: setup
	$(PY) tests/soak/prep_soak.py download --kills $(KILLS) --seed $(SEED)

soak-preprocess: setup
	$(PY) tests/soak/prep_soak.py preprocess --kills $(KILLS) --seed $(SEED)
