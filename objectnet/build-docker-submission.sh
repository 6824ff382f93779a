#!/usr/bin/env bash
# ObjectNet's command under its own name: see utils/build_submission.sh.
exec "$(dirname "${BASH_SOURCE[0]}")/../utils/build_submission.sh" "$@"
