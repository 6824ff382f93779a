.PHONY: bench-scoring test-browser

# Ranks 50,000 x 1,000 scores beside scikit-learn, and streams 290,000 predictions.
bench-scoring: setup
	$(PY) benchmarks/bench_scoring.py

# The report in headless Chromium. Installs nothing: on Debian, `apt-get install chromium chromium-driver` provides both.
test-browser: setup
	@command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null || \
		{ echo "make test-browser needs chromium and chromedriver on the PATH (Debian: apt-get install chromium chromium-driver)" >&2; exit 2; }
	$(PY) -P -m pytest tests/soak/browser_report.py
