# The mutation fuzzers for longer than `make test` has time for: image bytes, tar headers, list lines and indexes. SECONDS each.

.PHONY: fuzz bench-read
SECONDS ?= 60
SEED ?= 1

fuzz: setup
	$(PY) tests/soak/fuzz.py --seconds $(SECONDS) --seed $(SEED)

# What read_image costs beyond a bare decode of the same bytes.
bench-read: setup $(DECODER)
	$(PY) benchmarks/bench_read.py
