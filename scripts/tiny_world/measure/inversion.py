"""Measure on the tiny world what the options of step 1 do to what is drawn with its embeddings.

options: the example objects learned by default and with one option each. patience: learned to the
end, and with --patience. Everything else is the same: pairs, seeds, noise, the way of drawing. A
line gives a figure, its difference from the first arm's on the same seeds, and the 95 % interval of
that difference: how far the images tell it, not how another training would have ended.
"""

from __future__ import annotations

import resource
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from aligndiff.core.console import quiet_libraries, say
from aligndiff.core.exits import exit_with
from aligndiff.core.files import read_json, write_json
from aligndiff.core.options import Options, option, parse
from aligndiff.dataset.layout import EMBEDDING, LEARNED
from scripts.reporting import Columns, Line, Report, circumstances
from scripts.tiny_world.measure.fast import COLUMNS as SHARES
from scripts.tiny_world.measure.fast import Arm, compared, image_figures, scripts_for

if TYPE_CHECKING:
    from scripts.tiny_world.measure.judge import Judge
    from scripts.tiny_world.measure.samples import JudgedSample

MODULE = "scripts.tiny_world.measure.inversion"
EPILOG = "Running it again continues: what is learned and drawn stays."
RESAMPLES, QUANTILES = 1000, (0.025, 0.975)
SECONDS = "seconds.json"
Part = Literal["options", "patience"]

DEFAULT = Arm("default", ())
ARMS = (
    DEFAULT,
    Arm("attention_0.1", ("--attention_loss", "0.1")),
    Arm("attention_1", ("--attention_loss", "1")),
    Arm("object_templates", ("--templates", "object")),
    Arm("direction", ("--inversion", "direction")),
    Arm("two_vectors", ("--vectors", "2")),
    Arm("two_words", ("--vectors", "2", "--initializer", "good", "plain")),
    Arm("crop", ("--augment", "flip", "crop")),
    Arm("scale", ("--augment", "flip", "scale")),
    Arm("colour", ("--augment", "flip", "colour")),
    Arm("no_flip", ("--augment", "none")),
    Arm("patience_5", ("--patience", "5")),
)


@dataclass(frozen=True)
class InversionMeasure(Options):
    """The options of the measurement."""

    parts: tuple[Part, ...] = option(("options", "patience"), "what is compared")
    arms: tuple[str, ...] = option(
        tuple(arm.name for arm in ARMS),
        "arms of options, besides the default",
        choices=tuple(arm.name for arm in ARMS),
        metavar="NAME",
    )
    images: int = option(100, "images of each object and arm", 2, 1000)
    steps: int = option(500, "steps of step 1 (options)", 1, 10**5)
    accumulation: int = option(2, "passes of a step", 1, 100)
    patience: int = option(5, "evaluations without a fall (patience)", 1, 1000)
    patience_steps: int = option(500, "steps of step 1 at most (patience)", 1, 10**5)
    seed: int = option(0, "of step 1 and step 2")
    diffusion_model: str = option("tiny", "'tiny' or a folder that knows the tiny world")
    work_dir: Path = option(Path("runs/measure_inversion"), "folder for all that is made")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, learn, draw, judge, report after every arm; 0 when it ran, whatever the figures."""
    argv = sys.argv[1:] if argv is None else argv
    line = parse(
        f"python -m {MODULE}", __doc__ or "", EPILOG, {"measurement": InversionMeasure}, argv
    )
    config = line.config(InversionMeasure)
    quiet_libraries()

    from scripts.tiny_world.measure.judge import WEIGHTS, load_judge

    judge, started = load_judge(WEIGHTS), time.monotonic()
    report = Report(
        "options of step 1",
        "inversion",
        COLUMNS,
        circumstances(shlex.join(["python", "-m", MODULE, *argv])),
    )
    finished: list[Line] = []
    for part in config.parts:
        lines: list[Line] = []
        for lines in measure(config, judge, part):
            report.write(config.work_dir, finished + lines, (time.monotonic() - started) / 60)
        finished += lines
    report.show(finished, (time.monotonic() - started) / 60)
    say(f"all of it: {config.work_dir}")
    return 0


def measure(config: InversionMeasure, judge: Judge, part: Part) -> Iterator[list[Line]]:
    """The lines of a part, anew after every arm."""
    from scripts.tiny_world.measure.samples import judge_dataset

    samples: dict[str, list[JudgedSample]] = {}
    efforts: list[Line] = []
    for arm in part_arms(config, part):
        say(f"{part}: {arm.name} ...")
        dataset = (config.work_dir / part / arm.name).resolve()
        effort = learn_and_draw(config, dataset, arm)
        samples[arm.name] = judge_dataset(judge, dataset, config.images)
        efforts += effort_lines(part, arm.name, dataset, effort)
        yield [*figure_lines(part, samples, dataset), *efforts]


def part_arms(config: InversionMeasure, part: Part) -> list[Arm]:
    """The arms of a part, the one to compare with first."""
    passes = ("--gradient_accumulation", str(config.accumulation))
    if part == "options":
        common = ("--inversion_steps", str(config.steps), *passes)
        chosen = [arm for arm in ARMS if arm is DEFAULT or arm.name in config.arms]
    else:
        common = ("--inversion_steps", str(config.patience_steps), *passes)
        few = Arm(f"patience_{config.patience}", ("--patience", str(config.patience)))
        chosen = [Arm("to_the_end", ()), few]
    return [Arm(arm.name, (*common, *arm.options)) for arm in chosen]


def learn_and_draw(config: InversionMeasure, dataset: Path, arm: Arm) -> float | None:
    """All three steps of an arm; returns the processor's seconds that step 1 took.

    None where step 1 was stopped in between.
    """
    from scripts.tiny_world.measure.datasets import make_objects

    scripts = scripts_for(config.work_dir, config.diffusion_model, config.seed)
    make_objects(dataset)
    begun, before = any(dataset.glob(f"*/{LEARNED}/{EMBEDDING}")), _children_seconds()
    scripts.learn(dataset, "--no_sheet", *arm.options)
    if not (dataset / SECONDS).exists():
        write_json(dataset / SECONDS, None if begun else round(_children_seconds() - before, 1))
    scripts.draw(dataset, "--image_per_entry", config.images, "--no_sheet", "--preset", "fast")
    scripts.refine(dataset)
    seconds: float | None = read_json(dataset / SECONDS)
    return seconds


def _children_seconds() -> float:
    """Of the processor, by the commands that have ended: other programs do not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figure_lines(
    part: str, samples: dict[str, list[JudgedSample]], dataset: Path
) -> Iterator[Line]:
    """What is asked of images, over both objects; the look of each; the spread of the grounds."""
    figures = image_figures(dataset)
    yield from compared(part, samples, figures)
    first, *_ = samples.values()
    for category in sorted({sample.category for sample in first}):
        own = {
            name: [sample for sample in found if sample.category == category]
            for name, found in samples.items()
        }
        yield from compared(f"{part}, {category}", own, {"look": figures["look"]})
    for name, found in samples.items():
        share, bounds = grounds_ratio(found, first)
        spread = None if found is first else bounds
        yield Line(part, f"grounds: {name}", share, "", len(found), spread=spread)


def grounds_ratio(
    samples: Sequence[JudgedSample], others: Sequence[JudgedSample]
) -> tuple[float, tuple[float, float]]:
    """How far grounds differ from image to image, over how far those of `others` do.

    The mean over categories of the deviation of a ground's mean colour; with the bounds of its
    difference from 1, by resampling the images, the same of both.
    """
    rng = np.random.default_rng(0)
    ours, theirs = _ground_colours(samples), _ground_colours(others)
    ratios = []
    for _ in range(RESAMPLES):
        chosen = {name: rng.integers(len(own), size=len(own)) for name, own in ours.items()}
        mine = _deviation({name: own[chosen[name]] for name, own in ours.items()})
        other = _deviation({name: own[chosen[name]] for name, own in theirs.items()})
        if other:  # not the same image all the time, which happens with a few
            ratios.append(mine / other)
    low, high = np.quantile(ratios, QUANTILES) - 1
    return _deviation(ours) / _deviation(theirs), (float(low), float(high))


def _ground_colours(samples: Sequence[JudgedSample]) -> dict[str, np.ndarray]:
    """The mean colour of each image's ground, (n, 3), by category."""
    from scripts.tiny_world.measure.adapt import ground_colours

    own: dict[str, list[JudgedSample]] = {}
    for sample in samples:
        own.setdefault(sample.category, []).append(sample)
    return {
        name: ground_colours(
            np.stack([sample.image for sample in found]),
            [sample.verdict.foreground for sample in found],
        )
        for name, found in own.items()
    }


def _deviation(colours: dict[str, np.ndarray]) -> float:
    return float(np.mean([own.std(0).mean() for own in colours.values()]))


def effort_lines(part: str, arm: str, dataset: Path, seconds: float | None) -> Iterator[Line]:
    """Steps of both objects together, and the processor's seconds, the start of the program too."""
    from aligndiff.dataset.records import read_record
    from scripts.tiny_world.world.example import EXAMPLES

    records = [read_record(dataset / category / LEARNED) for category in EXAMPLES]
    steps = sum(len(record.loss) for record in records if record is not None)
    yield Line(part, f"steps: {arm}", steps, "steps", len(records))
    yield Line(part, f"seconds: {arm}", seconds, "s", len(records))


COLUMNS: Columns = {
    **SHARES,
    "value, %": lambda line: (
        f"{line.value:.0f} {line.unit}" if line.unit and line.value else SHARES["value, %"](line)
    ),
}


if __name__ == "__main__":
    exit_with(main)
