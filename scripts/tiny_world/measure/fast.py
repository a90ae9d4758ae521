"""Measure on the tiny world what fewer calls of the network cost, in step 2 and in step 1.

drawing: the same seeds drawn by `--preset method`, by `--preset fast`, and by fast with guidance
off below noise level 350. learning: embeddings of 500 steps over all noise levels against 250
steps over all, and 250 steps over the middle half (250 to 750). Every line gives a figure, its
difference from the first arm's on the same seeds, and the 95 % interval of that difference.
"""

from __future__ import annotations

import math
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aligndiff.core.console import quiet_libraries, say
from aligndiff.core.exits import exit_with
from aligndiff.core.options import Options, option, parse
from scripts.reporting import Columns, Line, Report, circumstances

if TYPE_CHECKING:
    from scripts.tiny_world.measure.judge import Judge
    from scripts.tiny_world.measure.runs import Scripts
    from scripts.tiny_world.measure.samples import JudgedSample

MODULE = "scripts.tiny_world.measure.fast"
EPILOG = "Running it again continues: what is drawn stays."
CERTAIN = 1.96  # standard errors on either side of a mean: a 95 % interval
INTERVAL = ("--guidance_interval", "350", "1000")
Part = Literal["drawing", "learning"]
Figure = Callable[["JudgedSample"], float | None]  # of one image; None: not asked of it


@dataclass(frozen=True)
class FastConfig(Options):
    """The options of the measurement."""

    parts: tuple[Part, ...] = option(("drawing", "learning"), "what is compared")
    plain_images: int = option(12, "images of each of the ten plain prompts (drawing)", 1, 1000)
    word_images: int = option(60, "images of each learned object (drawing)", 1, 1000)
    learned_images: int = option(200, "images of each object, arm and seed (learning)", 1, 1000)
    seeds: int = option(3, "trainings of each arm (learning)", 1, 100)
    steps: int = option(500, "steps of step 1; the shorter arms take half of them", 2, 10**5)
    diffusion_model: str = option("tiny", "'tiny' or a folder that knows the tiny world")
    work_dir: Path = option(Path("runs/measure_fast"), "folder for all that is made")


@dataclass(frozen=True)
class Arm:
    """One way to do it, by its options of a step."""

    name: str
    options: tuple[str, ...]


DRAWING = (
    Arm("method", ("--preset", "method")),
    Arm("fast", ("--preset", "fast")),
    Arm("fast, guided from 350 up", ("--preset", "fast", *INTERVAL)),
)


def learning_arms(steps: int) -> tuple[Arm, ...]:
    half = ("--inversion_steps", str(steps // 2))
    return (
        Arm(f"{steps} steps", ("--inversion_steps", str(steps))),
        Arm(f"{steps // 2} steps", half),
        Arm(f"{steps // 2} steps, levels 250 to 750", (*half, "--timestep_range", "250", "750")),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, draw, judge, report; 0 when it ran, whatever the figures."""
    argv = sys.argv[1:] if argv is None else argv
    line = parse(f"python -m {MODULE}", __doc__ or "", EPILOG, {"measurement": FastConfig}, argv)
    config = line.config(FastConfig)
    quiet_libraries()

    from scripts.tiny_world.measure.judge import WEIGHTS, load_judge

    judge, started, lines = load_judge(WEIGHTS), time.monotonic(), list[Line]()
    where = circumstances(shlex.join(["python", "-m", MODULE, *argv]))
    report = Report("fewer calls", "fast", COLUMNS, where)
    measures = {"drawing": measure_drawing, "learning": measure_learning}
    for part in config.parts:
        say(f"{part} ...")
        for found in measures[part](config, judge):
            lines.append(found)
            report.write(config.work_dir, lines, (time.monotonic() - started) / 60)
    report.show(lines, (time.monotonic() - started) / 60)
    say(f"all of it: {config.work_dir}")
    return 0


def measure_drawing(config: FastConfig, judge: Judge) -> Iterator[Line]:
    """Plain prompts and learned words, drawn and segmented by each arm from the same seeds."""
    from scripts.tiny_world.measure.datasets import make_objects, make_plain
    from scripts.tiny_world.measure.samples import judge_dataset

    scripts = scripts_for(config.work_dir, config.diffusion_model, 0)
    folder = (config.work_dir / "drawing").resolve()
    learned = folder / "objects"
    make_objects(learned)
    scripts.learn(learned, "--no_sheet", "--inversion_steps", config.steps)
    samples: dict[str, list[JudgedSample]] = {}
    of_words: dict[str, list[JudgedSample]] = {}
    for number, arm in enumerate(DRAWING):
        words, plain = folder / f"words_{number}", folder / f"plain_{number}"
        if not words.exists():
            shutil.copytree(learned, words)
        make_plain(plain)
        for dataset, count in ((plain, config.plain_images), (words, config.word_images)):
            scripts.draw(dataset, "--image_per_entry", count, "--no_sheet", *arm.options)
            scripts.refine(dataset)
        of_words[arm.name] = judge_dataset(judge, words, config.word_images)
        samples[arm.name] = judge_dataset(judge, plain, config.plain_images) + of_words[arm.name]
    figures = image_figures(learned)
    look = {"look": figures.pop("look")}
    yield from compared("drawing", samples, figures)
    yield from compared("drawing, learned words", of_words, look)


def measure_learning(config: FastConfig, judge: Judge) -> Iterator[Line]:
    """Every arm learns each object anew from each seed; all of them are drawn fast."""
    from scripts.tiny_world.measure.datasets import make_objects
    from scripts.tiny_world.measure.samples import judge_dataset

    arms, folder = learning_arms(config.steps), (config.work_dir / "learning").resolve()
    samples: dict[str, list[JudgedSample]] = {arm.name: [] for arm in arms}
    count = config.learned_images
    for seed in range(config.seeds):
        scripts = scripts_for(config.work_dir, config.diffusion_model, seed)
        for number, arm in enumerate(arms):
            dataset = folder / f"seed_{seed}_arm_{number}"
            make_objects(dataset)
            scripts.learn(dataset, "--no_sheet", *arm.options)
            scripts.draw(dataset, "--image_per_entry", count, "--no_sheet", "--preset", "fast")
            samples[arm.name] += judge_dataset(judge, dataset, count)
    figures = image_figures(dataset)
    wanted = {name: figures[name] for name in ("recognised", "look")}
    for category in sorted({sample.category for sample in samples[arms[0].name]}):
        of_it = {
            name: [sample for sample in found if sample.category == category]
            for name, found in samples.items()
        }
        yield from compared(f"learning, {category}", of_it, wanted)


def scripts_for(work_dir: Path, model: str, seed: int) -> Scripts:
    """The three scripts with a model, "tiny" or a folder, and the bundled segmenter."""
    from scripts.tiny_world.measure.runs import Scripts

    if model != "tiny":
        model = str(Path(model).resolve())
    return Scripts((work_dir / "logs").resolve(), seed, model, "tiny")


def image_figures(dataset: Path) -> dict[str, Figure]:
    """What is asked of an image; heatmap and mask only of one that shows its category.

    The look only makes sense for images with a learned word.
    """
    from aligndiff.dataset.prompt_bank import load_prompt_bank
    from aligndiff.refinement.config import RefinementConfig
    from scripts.tiny_world.world.example import EXAMPLES

    own = load_prompt_bank(dataset).defaults.heatmap_threshold
    threshold = RefinementConfig().heatmap_threshold if own is None else own

    return {
        "recognised": lambda sample: float(sample.recognised),
        "heatmap IoU": lambda sample: sample.heatmap_iou(threshold) if sample.recognised else None,
        "mask IoU": lambda sample: (
            sample.mask_iou if sample.recognised and sample.mask is not None else None
        ),
        "look": lambda sample: float(
            sample.recognised and sample.verdict.wears(EXAMPLES[sample.category])
        ),
    }


def compared(
    group: str, samples: dict[str, list[JudgedSample]], figures: dict[str, Figure]
) -> Iterator[Line]:
    """A line for each figure of each arm, against the first arm's where both have one."""
    first, *_ = samples.values()
    for name, figure in figures.items():
        base = [figure(sample) for sample in first]
        for arm, found in samples.items():
            values = [figure(sample) for sample in found]
            there = [value for value in values if value is not None]
            pairs = [
                (value, other)
                for value, other in zip(values, base, strict=True)
                if value is not None and other is not None
            ]
            if not there:
                continue
            spread = None if found is first else interval([a - b for a, b in pairs])
            yield Line(
                group, f"{name}: {arm}", sum(there) / len(there), "", len(there), spread=spread
            )


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of differences; of fewer than two the mean itself."""
    count = len(differences)
    mean = sum(differences) / count if count else math.nan
    if count < 2:
        return mean, mean
    variance = sum((difference - mean) ** 2 for difference in differences) / (count - 1)
    reach = CERTAIN * math.sqrt(variance / count)
    return mean - reach, mean + reach


def _difference(line: Line) -> str:
    if line.spread is None:
        return ""
    low, high = line.spread
    return f"{100 * (low + high) / 2:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


COLUMNS: Columns = {
    "part": lambda line: line.group,
    "what": lambda line: line.what,
    "value, %": lambda line: f"{100 * (line.value or 0.0):.1f}",
    "difference in points (95 % interval)": _difference,
    "n": lambda line: str(line.n),
}


if __name__ == "__main__":
    exit_with(main)
