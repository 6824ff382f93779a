#!/usr/bin/env bash
# Download, prove, unpack and arrange WebVision (or another set): bash download.sh [FOLDER] [--help for all options].
# Without FOLDER it goes to data/webvision-2.0 in the project's folder, wherever the command is given. Interrupted? The
# same command goes on where it was.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$root/.venv/bin/python"
[ -x "$python" ] || python="$(command -v python3)" || { echo "download.sh: error: no python3 here; install Python 3.11" >&2; exit 2; }
exec "$python" "$root/utils/download.py" "$@"
