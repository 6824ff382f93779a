.PHONY: bench-list
bench-list: setup
	$(PY) benchmarks/bench_list.py
