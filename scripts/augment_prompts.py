"""Add texts to the prompt bank: from templates, from captions, from a language model."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # python scripts/augment_prompts.py, from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aligndiff.core.exits import exit_with
from aligndiff.prompts.run import main

if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
