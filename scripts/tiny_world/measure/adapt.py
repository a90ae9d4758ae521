"""Line 8: the look of the example objects where step 1 tunes the denoiser too (`--adapt`).

Beside the look: whether the category is still right, whether the grounds still differ, and how near
the images come to the five real pairs, all compared with the embedding alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aligndiff.dataset.layout import LEARNED
from aligndiff.dataset.support import load_support
from scripts.reporting import Line, Target
from scripts.tiny_world.measure.datasets import make_objects
from scripts.tiny_world.measure.judge import Judge
from scripts.tiny_world.measure.runs import (
    MeasurementFolders,
    MeasurementSize,
    Scripts,
    drawing_steps,
)
from scripts.tiny_world.measure.samples import JudgedSample, judge_dataset, look_figures
from scripts.tiny_world.world.example import EXAMPLES

ALONE = "embedding"
GUIDANCE = 2.0  # a tuned denoiser needs less; at 4 dots become stripes more often
THUMBNAIL = 16  # px of a side, of the images whose distances are taken


@dataclass(frozen=True)
class AdaptFigures:
    """What images of one object look like after one kind of step 1.

    Attributes:
        kind: the value of --adapt.
        category: the object.
        images: how many were judged.
        recognised, look: shares of the images.
        grounds: deviation of the mean ground colour from image to image, in levels of 0 to 255.
        nearest: median distance of an image to the nearest real photo or its mirror image, as the
            root mean square of thumbnails, in levels.
    """

    kind: str
    category: str
    images: int
    recognised: float
    look: float
    grounds: float
    nearest: float


def measure_adapted(
    judge: Judge, scripts: Scripts, work: MeasurementFolders, effort: MeasurementSize
) -> list[AdaptFigures]:
    """Learn, draw and judge the example objects with every kind of step 1."""
    kinds = {ALONE: effort.adapted["full"], **effort.adapted}
    figures = []
    for kind, count in kinds.items():
        folder = work.folder / f"adapt_{kind}"
        _draw(scripts, work, effort, folder, kind, count)
        samples = judge_dataset(judge, folder, count)
        for category in EXAMPLES:
            own = [sample for sample in samples if sample.category == category]
            figures.append(_figures(kind, folder / category, own))
    return figures


def _draw(
    scripts: Scripts,
    work: MeasurementFolders,
    effort: MeasurementSize,
    folder: Path,
    kind: str,
    count: int,
) -> None:
    make_objects(folder)
    learning: list[object] = ["--no_sheet", *drawing_steps(effort)]  # of the prior's images
    if kind == ALONE:  # line 2's, if it was measured
        for category in EXAMPLES:
            learned = work.objects / category / LEARNED
            if learned.is_dir():
                shutil.copytree(learned, folder / category / LEARNED, dirs_exist_ok=True)
        steps = effort.inversion_steps
        learning += [] if steps is None else ["--inversion_steps", steps]
    else:
        steps = effort.adapt_steps
        learning += ["--adapt", kind, *([] if steps is None else ["--adapt_steps", steps])]
    scripts.learn(folder, *learning)
    guidance = ("--guidance_scale", GUIDANCE)
    scripts.draw(folder, "--image_per_entry", count, *guidance, *drawing_steps(effort))


def _figures(kind: str, pairs: Path, samples: Sequence[JudgedSample]) -> AdaptFigures:
    look = look_figures(kind, samples)
    images = np.stack([sample.image for sample in samples])
    photos = np.stack([cv2.resize(pair.image, images.shape[1:3]) for pair in load_support(pairs)])
    return AdaptFigures(
        kind,
        samples[0].category,
        len(samples),
        recognised=look.recognised or 0.0,
        look=look.look or 0.0,
        grounds=spread_of_grounds(images, [sample.verdict.foreground for sample in samples]),
        nearest=float(np.median(distance_to_nearest(images, photos))),
    )


def spread_of_grounds(images: np.ndarray, foregrounds: Sequence[np.ndarray]) -> float:
    """Deviation of `ground_colours` over images, mean of the channels, 0 to 255."""
    return float(np.std(ground_colours(images, foregrounds), axis=0).mean())


def ground_colours(images: np.ndarray, foregrounds: Sequence[np.ndarray]) -> np.ndarray:
    """The mean colour of the ground of each image, float (n, 3), 0 to 255.

    images: uint8 (n, h, w, 3). foregrounds: bool (h, w) each, the pixels that are no ground; an
    image without ground counts as a whole.
    """
    colours = []
    for image, foreground in zip(images, foregrounds, strict=True):
        ground = ~foreground if not foreground.all() else np.ones_like(foreground)
        colours.append(image[ground].mean(0))
    return np.stack(colours)


def distance_to_nearest(images: np.ndarray, photos: np.ndarray) -> np.ndarray:
    """Of every image to the nearest photo or its mirror image, in levels of 0 to 255: float (n,).

    images, photos: uint8 (n, h, w, 3); compared as thumbnails, by their root mean square.
    """
    ours, theirs = _thumbnails(images), _thumbnails(np.concatenate([photos, photos[:, :, ::-1]]))
    return np.sqrt(((ours[:, None] - theirs[None]) ** 2).mean(-1)).min(1)


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """float64 (n, numbers) of images uint8 (n, h, w, 3)."""
    size = (THUMBNAIL, THUMBNAIL)
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small).reshape(len(images), -1).astype(float)


def adapt_lines(figures: Sequence[AdaptFigures]) -> list[Line]:
    """Of every kind the worse object's look and category, and grounds and distance on average."""
    lines = []
    alone = float(np.mean([figure.grounds for figure in figures if figure.kind == ALONE]))
    for kind in dict.fromkeys(figure.kind for figure in figures):
        own = [figure for figure in figures if figure.kind == kind]
        n, judged = own[0].images, kind != ALONE
        look = min(figure.look for figure in own)
        known = min(figure.recognised for figure in own)
        grounds = float(np.mean([figure.grounds for figure in own])) / alone if alone else None
        near = float(np.mean([figure.nearest for figure in own]))
        name = f"--adapt {kind}"
        targets = (Target(0.80), Target(0.95), Target(0.90)) if judged else (None,) * 3
        lines += [
            Line("8", f"{name}: has the look, worse object", look, "share", n, targets[0]),
            Line("8", f"{name}: category, worse object", known, "share", n, targets[1]),
            Line("8", f"{name}: spread of grounds / embedding's", grounds, "share", n, targets[2]),
            Line("8", f"{name}: distance to the nearest real pair", near, "levels", n),
        ]
    return lines
