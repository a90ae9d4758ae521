"""Line 9: what the three steps reach on the rare class, which no generator of this world has seen.

The paper's case of a class that a text-to-image model does not know: its word means nothing, so all
that is known of it are five pairs. Here a bird of one kind and look.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.reporting import Line
from scripts.tiny_world.measure.adapt import ALONE, GUIDANCE
from scripts.tiny_world.measure.datasets import make_rare
from scripts.tiny_world.measure.judge import Judge
from scripts.tiny_world.measure.runs import (
    MeasurementFolders,
    MeasurementSize,
    Scripts,
    drawing_steps,
)
from scripts.tiny_world.measure.samples import JudgedSample, judge_dataset, mean
from scripts.tiny_world.world.example import RARE_LOOK

KINDS = (ALONE, "lora", "full")  # of step 1


def rare_samples(
    judge: Judge, scripts: Scripts, work: MeasurementFolders, effort: MeasurementSize
) -> dict[str, list[JudgedSample]]:
    """Learn, draw, segment and judge the rare object with every kind of step 1."""
    samples = {}
    for kind in KINDS:
        folder = work.folder / f"rare_{kind}"
        _draw(scripts, effort, folder, kind)
        samples[kind] = judge_dataset(judge, folder, effort.rare_images)
    return samples


def _draw(scripts: Scripts, effort: MeasurementSize, folder: Path, kind: str) -> None:
    make_rare(folder)
    name, most = (
        ("--inversion_steps", effort.inversion_steps)
        if kind == ALONE
        else ("--adapt_steps", effort.adapt_steps)
    )
    steps = [] if most is None else [name, most]
    scripts.learn(folder, "--no_sheet", "--adapt", kind, *steps, *drawing_steps(effort))
    guidance = () if kind == ALONE else ("--guidance_scale", GUIDANCE)
    count = effort.rare_images
    scripts.draw(folder, "--image_per_entry", count, *guidance, *drawing_steps(effort))
    scripts.refine(folder)


def rare_lines(samples: dict[str, Sequence[JudgedSample]]) -> list[Line]:
    """Shares of what the judge sees, and the masks' IoU with its own where it sees a bird."""
    lines = []
    for kind, own in samples.items():
        known = [sample for sample in own if sample.recognised]
        told = (
            ("the judge sees the class", mean(s.recognised for s in own), "share", len(own)),
            ("has the look", mean(s.verdict.wears(RARE_LOOK) for s in own), "share", len(own)),
            ("masks: mean IoU where it does", mean(s.mask_iou for s in known), "iou", len(known)),
        )
        lines += [Line("9", f"rare class, --adapt {kind}: {what}", *rest) for what, *rest in told]
    return lines
