.PHONY: bench-list soak-check
bench-list: setup
	$(PY) benchmarks/bench_list.py

soak-check: setup
	$(PY) tests/soak/soak_check.py
