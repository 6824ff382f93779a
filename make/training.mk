# Soaks of the training: not part of `make test`.
.PHONY: soak-kill soak-disk soak-memory

# Random kill -9 over whole trainings and evaluations; a quarter of an hour on one core. KILLS=300 SEED=1
soak-kill: setup
	$(PY) tests/soak/kill_soak.py --kills $(KILLS) --seed $(SEED)

# Disks that fill in training, of every size; needs to mount. ROUNDS=30 SEED=1
soak-disk: setup
	$(PY) tests/soak/disk_soak.py --rounds $(or $(ROUNDS),30) --seed $(SEED)

# 20,000 steps: memory and file descriptors must not grow. Five minutes.
soak-memory: setup
	$(PY) tests/soak/memory_soak.py
