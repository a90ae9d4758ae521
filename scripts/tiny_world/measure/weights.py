"""How good the tiny models are on the world itself, before any step of the method.

The judge on fresh scenes; images from plain prompts: category, kinds, heatmaps; dots where a prompt
spells them out; the segmenter on categories it never learned, alone and in company.

python -m scripts.tiny_world.measure.weights --diffusion_model tiny --fss_ckpt_path tiny
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from aligndiff.core.console import quiet_libraries, say
from aligndiff.core.exits import exit_with
from aligndiff.dataset.images import write_image
from scripts.tiny_world.world.example import EXAMPLES
from scripts.tiny_world.world.scene import random_scene, render
from scripts.tiny_world.world.shapes import SHAPES
from scripts.tiny_world.world.sheet import tiled

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from aligndiff.diffusion.sampling import GeneratedSample
    from aligndiff.segmenters.base import Segmenter
    from scripts.tiny_world.measure.judge import Judge, JudgeVerdict

DOTTED_PROMPT = "a dotted red and white mushroom"
GUIDANCE = 4.0
STEPS = 20  # of the sampler
HEATMAP_THRESHOLD = 0.45
SUPPORT = 5  # pairs
FIRST_SEED = 99_000_000  # of the segmenter's scenes: in no training


@dataclass
class Figures:
    """Shares and IoUs in [0, 1]; None for what was not measured."""

    judge: dict[str, float] = field(default_factory=dict)
    faithful: float | None = None
    faithful_by_category: dict[str, float] = field(default_factory=dict)
    kind_shares: dict[str, dict[str, float]] = field(default_factory=dict)
    heatmap_iou: float | None = None
    heatmap_iou_by_category: dict[str, float] = field(default_factory=dict)
    dotted: float | None = None
    segmenter_alone: float | None = None
    segmenter_company: float | None = None

    @property
    def kind_range(self) -> tuple[float, float]:
        """The rarest and the most frequent kind's share of its category's images."""
        shares = [share for kinds in self.kind_shares.values() for share in kinds.values()]
        return min(shares), max(shares)


def measure_generator(
    pipe: StableDiffusionPipeline, judge: Judge, count: int, figures: Figures
) -> np.ndarray:
    """``count`` images of every category's plain prompt, judged; a sheet of some of them."""
    rows, overlaps = [], []
    for category in SHAPES:
        drawn = drawings(pipe, f"a photo of a {category}", category, count)
        verdicts = verdicts_of(judge, drawn)
        known = [at for at, verdict in enumerate(verdicts) if verdict.category == category]
        ious = [heatmap_iou(drawn[at].heatmap, verdicts[at].mask) for at in known]
        overlaps += ious
        figures.faithful_by_category[category] = len(known) / len(drawn)
        figures.heatmap_iou_by_category[category] = float(np.mean(ious)) if ious else 0.0
        kinds = Counter(verdicts[at].kind for at in known)
        shares = {kind: kinds[kind] / max(1, len(known)) for kind in SHAPES[category]}
        figures.kind_shares[category] = shares
        rows.append([drawing.image for drawing in drawn[:12]])
    figures.faithful = float(np.mean(list(figures.faithful_by_category.values())))
    figures.heatmap_iou = float(np.mean(overlaps))
    drawn = drawings(pipe, DOTTED_PROMPT, "mushroom", count)
    verdicts = verdicts_of(judge, drawn)
    figures.dotted = float(np.mean([verdict.texture == "dotted" for verdict in verdicts]))
    return tiled([*rows, [drawing.image for drawing in drawn[:12]]])


def drawings(
    pipe: StableDiffusionPipeline, prompt: str, category: str, count: int
) -> list[GeneratedSample]:
    """Images and heatmaps of a prompt, always the same."""
    from aligndiff.api import generate

    return generate(
        pipe, category, count, prompt, guidance_scale=GUIDANCE, num_inference_steps=STEPS
    )


def verdicts_of(judge: Judge, drawn: Sequence[GeneratedSample]) -> list[JudgeVerdict]:
    from scripts.tiny_world.measure.judge import judge_images

    return judge_images(judge, np.stack([drawing.image for drawing in drawn]))


def heatmap_iou(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """Of a heatmap uint8 (h, w) above the threshold with a mask bool (h, w)."""
    return overlap(heatmap > HEATMAP_THRESHOLD * 255, mask)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks, bool (h, w); 1 when both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def measure_segmenter(segmenter: Segmenter, count: int, figures: Figures) -> np.ndarray:
    """Mean IoU on ``count`` scenes of each novel category of any kind and look, 5 real pairs.

    The five pairs show the five kinds. A sheet of some scenes in company and their masks.
    """
    ious: dict[bool, list[float]] = {True: [], False: []}
    rows = []
    for number, category in enumerate(EXAMPLES):
        first = FIRST_SEED + 100_000 * number
        kinds = list(SHAPES[category])[:SUPPORT]
        pairs = [
            render(random_scene(first + i, category, None, True, k)) for i, k in enumerate(kinds)
        ]
        encoded = segmenter.encode([pair.image for pair in pairs])
        masks = [pair.masks[0].astype(np.uint8) for pair in pairs]
        shown = zip(encoded, masks, strict=True)
        segmenter.set_support([segmenter.describe(*pair) for pair in shown])
        for alone in (True, False):
            scenes = [random_scene(first + 1000 + i, category, None, alone) for i in range(count)]
            tests = [render(scene) for scene in scenes]
            answers = [
                segmenter.segment(e) > 0.5 for e in segmenter.encode([t.image for t in tests])
            ]
            ious[alone] += [overlap(a, t.masks[0]) for a, t in zip(answers, tests, strict=True)]
        rows += [[t.image for t in tests[:12]], [as_image(answer) for answer in answers[:12]]]
    figures.segmenter_alone, figures.segmenter_company = map(np.mean, (ious[True], ious[False]))
    return tiled(rows)


def as_image(mask: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(mask.astype(np.uint8) * 255, cv2.COLOR_GRAY2RGB)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tiny_world.measure.weights", description=__doc__
    )
    parser.add_argument("--diffusion_model", help="tiny, or a folder; left out: not measured")
    parser.add_argument("--fss_ckpt_path", help="tiny, or a file; left out: not measured")
    parser.add_argument("--judge", type=Path, help="weights of the judge (default: the published)")
    parser.add_argument("--count", type=int, default=40, help="images of each prompt")
    parser.add_argument("--scenes", type=int, default=400, help="fresh scenes for the judge")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/weights"))
    args = parser.parse_args(argv)
    quiet_libraries()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    figures = Figures()
    measure_all(args, figures)
    (args.output_dir / "weights.json").write_text(json.dumps(asdict(figures), indent=2) + "\n")
    return 0


def measure_all(args: argparse.Namespace, figures: Figures) -> None:
    """Measure what the options name; sheets go to the output folder, figures to the screen."""
    from aligndiff.api import load_diffusion_model, load_segmenter
    from scripts.tiny_world.measure.judge import WEIGHTS, judge_accuracy, load_judge

    if args.fss_ckpt_path:
        segmenter = load_segmenter(args.fss_ckpt_path, device="cpu", precision="float32")
        sheet = measure_segmenter(segmenter, args.count, figures)
        write_image(args.output_dir / "segmenter.png", sheet)
        say(
            f"segmenter, {SUPPORT} pairs of other kinds and looks: mean IoU "
            f"{figures.segmenter_alone:.3f} alone, {figures.segmenter_company:.3f} in company"
        )
    judge = load_judge(args.judge or WEIGHTS)
    if args.scenes:
        accuracy = judge_accuracy(judge, args.scenes)
        figures.judge = asdict(accuracy)
        say(", ".join(f"{name} {value:.3f}" for name, value in figures.judge.items()))
    if args.diffusion_model:
        pipe = load_diffusion_model(args.diffusion_model, "cpu", "float32")
        sheet = measure_generator(pipe, judge, args.count, figures)
        write_image(args.output_dir / "generator.png", sheet)
        least, most = figures.kind_range
        say(
            f"plain prompts: faithful {figures.faithful:.3f}, kinds {least:.3f} to {most:.3f}, "
            f"heatmaps {figures.heatmap_iou:.3f}; dots where asked for {figures.dotted:.3f}"
        )


if __name__ == "__main__":
    exit_with(main)
