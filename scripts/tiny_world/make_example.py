"""Draw ``example_dataset/``: two objects with a look of their own, five support pairs each."""

from __future__ import annotations

import json
from pathlib import Path

from aligndiff.dataset.images import write_image, write_mask
from scripts.tiny_world.world.example import EXAMPLES, example_scene
from scripts.tiny_world.world.scene import render

PAIRS = 5
FIRST_SEED = 90_000_000  # far from every seed of the training scenes
# The tiny model saturates at a guidance of 7.5. Its heatmaps have the objects' size at 0.45, and
# from a grid of 16 x 16 cells many do not reach an IoU of 0.8 with a good mask.
DEFAULTS = {
    "diffusion_model": "tiny",
    "fss_ckpt_path": "tiny",
    "guidance_scale": 4.0,
    "num_inference_steps": 20,
    "heatmap_threshold": 0.45,
    "consensus_iou_threshold": 0.7,
}
TEXTS = {
    "fish": (
        "a photo of a fish",
        "a good photo of an orange fish with white stripes in the water, "
        "swimming in the middle of the picture, seen from the side in soft light",
    ),
    "mushroom": (
        "a photo of a mushroom",
        "a good photo of a red mushroom with white dots on green grass, "
        "standing in the middle of the picture, seen from the side in soft light",
    ),
}


def draw_pairs(category: str, folder: Path) -> None:
    """PAIRS scenes with one object of the example's look, as 1.jpg + 1.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(PAIRS):
        seed = FIRST_SEED + 100 * list(EXAMPLES).index(category) + index
        drawn = render(example_scene(seed, category, alone=True))
        write_image(folder / f"{index + 1}.jpg", drawn.image)
        write_mask(folder / f"{index + 1}.png", drawn.masks[0])


def bank_entries(category: str) -> list[dict[str, str]]:
    common = {"category": category, "D_good_dir": category}
    texts = [{"type": "text", "text": text, **common} for text in TEXTS[category]]
    return [*texts, {"type": "NM_embedding", "path": category, **common}]


def make_example(folder: Path) -> None:
    for category in EXAMPLES:
        draw_pairs(category, folder / category)
    bank = {
        "defaults": DEFAULTS,
        "prompt_dataset": [entry for name in EXAMPLES for entry in bank_entries(name)],
    }
    (folder / "dataset.json").write_text(json.dumps(bank, indent=2) + "\n")
