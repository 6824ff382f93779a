.PHONY: bench-step

# ResNet-50 on the CPU: the training step through our trainer, a bare session and tf_keras; prediction, also by ONNX Runtime.
bench-step: setup
	$(PY) benchmarks/bench_step.py
