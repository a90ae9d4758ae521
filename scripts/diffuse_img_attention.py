"""Step 2: generate images of every entry of a prompt bank, with heatmaps."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # python scripts/diffuse_img_attention.py, from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aligndiff.core.exits import exit_with
from aligndiff.synthesis.step import main

if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
