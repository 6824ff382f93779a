# The compiled JPEG decoder. `setup` depends on $(DECODER); without a compiler the stamp is made all the same, and the
# line printed says which path decodes instead.
DECODER := $(VENV)/.decoder

$(DECODER): $(INSTALLED) $(wildcard webvision/data/native/*.[ch]) webvision/data/native/build.py
	@PYTHONPATH=$(CURDIR) $(PY) -P -m webvision.data.native.build
	@touch $@

.PHONY: bench-input
# Ours, upstream's pipeline on tensorpack, tf.data and the C limit, interleaved: CPU time per picture. BENCH="--quick", or
# BENCH="--extras-python FILE" for FFCV, DALI and torch from a Python of their own; bench_input.py says how to make one.
bench-input: setup $(DECODER)
	$(PY) benchmarks/bench_input.py $(BENCH)
