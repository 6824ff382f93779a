.PHONY: bench-wait

# The share of time that training waits for data, for loaders faster and slower than the step; ten minutes. WAIT="--rounds 1"
bench-wait: setup $(DECODER)
	$(PY) benchmarks/bench_wait.py $(WAIT)
