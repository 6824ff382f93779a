#!/usr/bin/env bash
# Run by sotabench's server before `python sotabench.py`: install what requirements.txt names, and see that it starts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
PYTHON="${PYTHON:-python3}"

"$PYTHON" -I -m pip install --disable-pip-version-check --quiet --only-binary :all: -r requirements.txt
"$PYTHON" sotabench.py --help > /dev/null
echo "ready: $PYTHON sotabench.py"
