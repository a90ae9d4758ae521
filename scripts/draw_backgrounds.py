"""Backgrounds for scenes: have the diffusion model draw places and other things."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # python scripts/draw_backgrounds.py, from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aligndiff.core.exits import exit_with
from aligndiff.synthesis.backgrounds import main

if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
