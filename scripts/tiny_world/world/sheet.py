"""Draw the pictures of the world for its documentation: every kind, and scenes as they come.

python -m scripts.tiny_world.world.sheet --output_dir docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from aligndiff.dataset.images import write_image
from scripts.tiny_world.world.captions import caption
from scripts.tiny_world.world.scene import Scene, Thing, random_look, random_scene, render
from scripts.tiny_world.world.shapes import ALL_SHAPES, seed_of_kind

GAP = 4  # px between pictures
CELL = 88  # px, the side of a kind's picture
OUTLINE = (255, 0, 200)  # of a mask


def kinds_sheet() -> np.ndarray:
    """A row for each category, its kinds side by side, two individuals of each: RGB."""
    rows = []
    for row, (category, kinds) in enumerate(ALL_SHAPES.items()):
        rng = np.random.default_rng((row, 76))
        rows.append(
            [
                cv2.resize(kind_picture(category, kind, rng), (CELL, CELL), None, 0, 0, 3)
                for kind in kinds
                for _ in range(2)
            ]
        )
    return tiled(rows)


def kind_picture(category: str, kind: str, rng: np.random.Generator) -> np.ndarray:
    """An individual of a kind that fills its picture, on a ground that its look stands out from."""
    seed, look = int(rng.integers(2**31)), random_look(rng)
    ground = random_scene(seed, category, look, alone=True).ground
    angle, mirrored = rng.uniform(-12, 12), bool(rng.random() < 0.5)
    shape_seed = seed_of_kind(category, kind, seed)
    thing = Thing(category, look, (0.5, 0.5), 0.86, angle, mirrored, shape_seed)
    return render(Scene(ground, (thing,), seed)).image


def scenes_sheet(first_seed: int, rows: int, columns: int) -> np.ndarray:
    """Scenes as they come, each above itself with the outlines of its masks: RGB."""
    cells: list[list[np.ndarray]] = []
    for row in range(rows):
        drawn = [render(random_scene(first_seed + row * columns + i)) for i in range(columns)]
        cells.append([rendering.image for rendering in drawn])
        cells.append([outlined(rendering.image, rendering.masks) for rendering in drawn])
    return tiled(cells)


def outlined(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """A pale copy of an image, uint8 (h, w, 3), with the borders of masks, bool (n, h, w)."""
    pale = (image // 2 + 127).astype(np.uint8)
    for mask in masks.astype(np.uint8):
        pale[(mask > 0) & (cv2.erode(mask, np.ones((3, 3), np.uint8)) == 0)] = OUTLINE
    return pale


def tiled(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Rows of pictures of one size, with white gaps between them."""
    border = ((0, GAP), (0, GAP), (0, 0))
    framed = [[np.pad(cell, border, constant_values=255) for cell in row] for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in framed])[:-GAP, :-GAP]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.tiny_world.world.sheet")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the pictures")
    args = parser.parse_args(argv)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    write_image(args.output_dir / "world_kinds.jpg", kinds_sheet())
    write_image(args.output_dir / "world_scenes.jpg", scenes_sheet(98_000_000, 2, 7))
    rng = np.random.default_rng(77)
    for seed in range(98_000_000, 98_000_014):
        print(caption(random_scene(seed), rng))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
