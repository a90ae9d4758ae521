"""Scenes: paste instances of the object into other photos, with other things around."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # python scripts/compose_scenes.py, from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aligndiff.core.exits import exit_with
from aligndiff.scenes.step import main

if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
