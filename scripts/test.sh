#!/usr/bin/env bash
# Everything CI checks: lint, format, types, tests. Arguments go to pytest: scripts/test.sh -k heatmap
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup_env.sh dev
export PATH="$PWD/.venv/bin:$PATH"

ruff check .
ruff format --check .
mypy
# A file of tests goes to one process: its tests share what they made.
pytest -q -n auto --maxprocesses 8 --dist loadfile "$@"
