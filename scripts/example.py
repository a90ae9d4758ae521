"""The three step scripts by name, and copies of the example that other programs run them on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from aligndiff.core.files import read_json, write_json
from aligndiff.dataset.layout import DATASET_FILE
from scripts.reporting import REPOSITORY

EXAMPLE = REPOSITORY / "example_dataset"
INVERSION = "scripts.image_mask_inversion"
SYNTHESIS = "scripts.diffuse_img_attention"
REFINEMENT = "scripts.mask_generation"
COMPOSITION = "scripts.compose_scenes"


def copy_example(folder: Path, texts_only: bool = False) -> Path:
    """What a fresh clone's example_dataset holds, in a new `folder`, which is returned.

    With `texts_only` the prompt bank has no entries that step 1 would have to learn first.
    """
    shutil.rmtree(folder, ignore_errors=True)
    made = shutil.ignore_patterns("learned_embeddings", "synthesized", "sheets", "photos")
    shutil.copytree(EXAMPLE, folder, ignore=made)
    if texts_only:
        bank: dict[str, Any] = read_json(folder / DATASET_FILE)
        bank["prompt_dataset"] = [e for e in bank["prompt_dataset"] if e["type"] == "text"]
        write_json(folder / DATASET_FILE, bank)
    return folder
