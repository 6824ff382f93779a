#!/usr/bin/env bash
# Run by sotabench's server before `python sotabench.py`: install what requirements.txt names, and see that it starts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
PYTHON="${PYTHON:-python3}"

"$PYTHON" -m pip install --disable-pip-version-check --quiet -r requirements.txt
"$PYTHON" sotabench.py --help > /dev/null
echo "ready: $PYTHON sotabench.py"
