"""Part h: how many scenes a core composes and writes in a second, and what a million cost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from aligndiff.core.files import write_json
from aligndiff.dataset.images import encode, write_image
from aligndiff.dataset.layout import DATASET_FILE, SceneFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.scenes.compose import compose_scenes
from aligndiff.scenes.config import MaterialOptions, SceneConfig
from aligndiff.scenes.plan import blocks_of, plan_scenes, prepare_folders
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import line
from scripts.benchmark.scenes import scene
from scripts.reporting import Line

SIDES = (128, 512)  # px
PAIRS, BACKGROUNDS, SCENES = 5, 20, 60
MILLION, HOUR, GB = 10**6, 3600, 10**9


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """Scenes of two sides, from drawn pairs and backgrounds larger by half: processor time."""
    for side in SIDES:
        root = _dataset(config.work_dir / f"scenes_{side}", side)
        rates = [_rate(root, side, number) for number in range(config.rounds)]
        yield line("h", f"{side} px: composed and written on one core", rates, "scenes/s")
        hours = [MILLION / rate / HOUR for rate in rates]
        yield line("h", f"{side} px: a million scenes on one core", hours, "hours")
        yield line("h", f"{side} px: a million scenes on the disk", [_gigabytes(root)], "GB")


def _rate(root: Path, side: int, seed: int) -> float:
    """Scenes in a second of the processor's time, its threads included."""
    bank = load_prompt_bank(root, ["disc"])
    config = SceneConfig(count=SCENES, side=(side,), seed=seed)
    options = MaterialOptions(backgrounds=(root / "places",), sources=("real",))
    plans, _ = plan_scenes(bank, options, config)
    scenes = [scene for block in blocks_of(plans, SCENES) for scene in block]
    prepare_folders(plans, scenes, overwrite=True, whole=True)
    began = time.process_time()
    failed = compose_scenes(scenes, config, lambda *args, **more: None)
    assert not failed
    return len(scenes) / (time.process_time() - began)


def _gigabytes(root: Path) -> float:
    """Of a million scenes like those that are there; of a record a block of the disk counts."""
    folder = SceneFolder(root, "disc").folder
    size = sum(path.stat().st_blocks * 512 for path in folder.rglob("image_*"))
    return size / SCENES * MILLION / GB


def _dataset(root: Path, side: int) -> Path:
    """A dataset folder of drawn pairs of two categories, and photos of places."""
    shutil.rmtree(root, ignore_errors=True)
    for name, first in (("disc", 0), ("other", 100)):
        (root / name).mkdir(parents=True)
        for number in range(PAIRS):
            image, inside = scene(first + number, side)
            write_image(root / name / f"{number}.jpg", image)
            mask = encode(inside.astype(np.uint8) * np.uint8(255), ".png")
            (root / name / f"{number}.png").write_bytes(mask)
    (root / "places").mkdir()
    for number in range(BACKGROUNDS):
        write_image(root / "places" / f"{number}.jpg", scene(200 + number, side * 3 // 2)[0])
    entries = [
        {"type": "text", "category": name, "D_good_dir": name, "text": f"a {name}"}
        for name in ("disc", "other")
    ]
    write_json(root / DATASET_FILE, {"prompt_dataset": entries})
    return root
