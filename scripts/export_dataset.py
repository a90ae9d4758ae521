"""Export a dataset in a layout that other programs read."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # python scripts/export_dataset.py, from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aligndiff.core.exits import exit_with
from aligndiff.export.run import main

if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
