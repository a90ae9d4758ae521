"""Measure on the tiny world what the options of step 1 do to what is drawn with its embeddings.

The example objects are learned by several recipes ("arms"), all from the same seeds, drawn and
refined in the same way, and judged. A line gives a figure as the mean over trainings (one for each
object and seed), its difference from the first arm's, and the 95 % interval of that difference
(Student's t over trainings): how far these tell what another training would give.
"""

from __future__ import annotations

import math
import shlex
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from aligndiff.core.console import quiet_libraries, say
from aligndiff.core.exits import exit_with
from aligndiff.core.files import read_json, write_json
from aligndiff.core.options import Options, option, parse
from aligndiff.dataset.layout import LEARNED
from scripts.reporting import Columns, Line, Report, circumstances
from scripts.tiny_world.measure.fast import COLUMNS as SHARES
from scripts.tiny_world.measure.fast import Arm, image_figures, scripts_for

if TYPE_CHECKING:
    from scripts.tiny_world.measure.judge import Judge
    from scripts.tiny_world.measure.samples import JudgedSample

MODULE = "scripts.tiny_world.measure.inversion"
EPILOG = "Running it again continues: what is learned, drawn and judged stays."
JUDGED = "judged.json"
STEPS, GROUNDS = "steps", "spread of grounds"
BY_OBJECT = ("heatmap IoU", "look")  # where the objects differ most
# Student's t for 95 % on both sides, by degrees of freedom from 1; beyond them the normal one.
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14)
NORMAL = 1.96

FLIP = ("--augment", "flip")
SCALE = (*FLIP, "scale")
ARMS = (
    Arm("method", FLIP),
    Arm("attention_0.1", (*FLIP, "--attention_loss", "0.1")),
    Arm("attention_1", (*FLIP, "--attention_loss", "1")),
    Arm("object_templates", (*FLIP, "--templates", "object")),
    Arm("direction", (*FLIP, "--inversion", "direction")),
    Arm("two_vectors", (*FLIP, "--vectors", "2")),
    Arm("two_words", (*FLIP, "--vectors", "2", "--initializer", "good", "plain")),
    Arm("patience_5", (*FLIP, "--patience", "5")),
    Arm("no_flip", ("--augment", "none")),
    Arm("crop", (*FLIP, "crop")),
    Arm("colour", (*FLIP, "colour")),
    Arm("scale", SCALE),
    Arm("scale_attention_1", (*SCALE, "--attention_loss", "1")),
    Arm("scale_patience_5", (*SCALE, "--patience", "5")),
    Arm("scale_patience_8", (*SCALE, "--patience", "8")),
)


@dataclass(frozen=True)
class InversionMeasure(Options):
    """The options of the measurement."""

    arms: tuple[str, ...] = option(
        tuple(arm.name for arm in ARMS),
        "what is compared, with the first of them",
        choices=tuple(arm.name for arm in ARMS),
        metavar="NAME",
    )
    seeds: tuple[int, ...] = option((0, 1, 2, 3), "each a training of every arm and object")
    images: int = option(100, "images of each training", 2, 1000)
    steps: int = option(500, "steps of step 1", 1, 10**5)
    accumulation: int = option(2, "passes of a step", 1, 100)
    workers: int = option(1, "trainings at a time", 1, 64)
    diffusion_model: str = option("tiny", "'tiny' or a folder that knows the tiny world")
    work_dir: Path = option(Path("runs/measure_inversion"), "folder for all that is made")


@dataclass(frozen=True)
class Training:
    """What came of one arm, seed and object: shares, IoUs and deviations, None where none is."""

    arm: str
    seed: int
    category: str
    figures: dict[str, float | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, learn, draw, judge, report after every training; 0 when it ran, as it may come out."""
    argv = sys.argv[1:] if argv is None else argv
    line = parse(
        f"python -m {MODULE}", __doc__ or "", EPILOG, {"measurement": InversionMeasure}, argv
    )
    config = line.config(InversionMeasure)
    quiet_libraries()

    from scripts.tiny_world.measure.judge import WEIGHTS, load_judge

    judge, started = load_judge(WEIGHTS), time.monotonic()
    where = circumstances(shlex.join(["python", "-m", MODULE, *argv]))
    report = Report("options of step 1", "inversion", COLUMNS, where)
    trainings: list[Training] = []
    for finished in train_all(config, judge):
        trainings += finished
        trainings.sort(key=lambda training: config.arms.index(training.arm))
        report.write(config.work_dir, training_lines(trainings), (time.monotonic() - started) / 60)
    report.show(training_lines(trainings), (time.monotonic() - started) / 60)
    say(f"all of it: {config.work_dir}")
    return 0


def compared_arms(config: InversionMeasure) -> list[Arm]:
    """Those that are asked for, with what all of them have."""
    named = {arm.name: arm for arm in ARMS}
    chosen = [named[name] for name in config.arms]
    common = ("--inversion_steps", str(config.steps))
    common += ("--gradient_accumulation", str(config.accumulation))
    return [Arm(arm.name, (*common, *arm.options)) for arm in chosen]


def train_all(config: InversionMeasure, judge: Judge) -> Iterator[list[Training]]:
    """The trainings of a seed and arm, of both objects, as they get ready; seed after seed."""
    judging = Lock()
    with ThreadPoolExecutor(config.workers) as pool:
        jobs = [
            pool.submit(_train, config, judge, judging, seed, arm)
            for seed in config.seeds
            for arm in compared_arms(config)
        ]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _train(
    config: InversionMeasure, judge: Judge, judging: Lock, seed: int, arm: Arm
) -> list[Training]:
    """All three steps of both objects, and the judge; what was judged before is read."""
    from scripts.tiny_world.measure.datasets import make_objects
    from scripts.tiny_world.measure.samples import judge_dataset

    dataset = (config.work_dir / f"seed_{seed}" / arm.name).resolve()
    if not (dataset / JUDGED).exists():
        logs = config.work_dir / f"seed_{seed}"
        scripts = scripts_for(logs, config.diffusion_model, seed)
        make_objects(dataset)
        scripts.learn(dataset, "--no_sheet", *arm.options)
        scripts.draw(dataset, "--image_per_entry", config.images, "--no_sheet", "--preset", "fast")
        scripts.refine(dataset)
        with judging:
            samples = judge_dataset(judge, dataset, config.images)
        write_json(dataset / JUDGED, object_figures(dataset, samples))
    found: dict[str, dict[str, float | None]] = read_json(dataset / JUDGED)
    return [Training(arm.name, seed, category, figures) for category, figures in found.items()]


def object_figures(
    dataset: Path, samples: Sequence[JudgedSample]
) -> dict[str, dict[str, float | None]]:
    """The figures of each object: means over its images, and its steps of step 1."""
    from aligndiff.dataset.records import read_record
    from scripts.tiny_world.measure.samples import mean

    figures: dict[str, dict[str, float | None]] = {}
    for category in sorted({sample.category for sample in samples}):
        own = [sample for sample in samples if sample.category == category]
        figures[category] = {
            name: mean(value for value in map(figure, own) if value is not None)
            for name, figure in image_figures(dataset).items()
        }
        record = read_record(dataset / category / LEARNED)
        figures[category] |= {
            GROUNDS: spread_of_grounds(own),
            STEPS: None if record is None else len(record.loss),
        }
    return figures


def spread_of_grounds(samples: Sequence[JudgedSample]) -> float:
    """How far grounds differ from image to image: deviation of their mean colour, 0 to 1."""
    from scripts.tiny_world.measure import adapt

    images = np.stack([sample.image for sample in samples])
    return adapt.spread_of_grounds(images, [s.verdict.foreground for s in samples]) / 255


def training_lines(trainings: Sequence[Training]) -> list[Line]:
    """Every figure over both objects, then what differs most of each object."""
    names = list(dict.fromkeys(name for training in trainings for name in training.figures))
    lines = [line for name in names for line in figure_lines("both objects", name, trainings)]
    for category in sorted({training.category for training in trainings}):
        own = [training for training in trainings if training.category == category]
        lines += [line for name in BY_OBJECT for line in figure_lines(category, name, own)]
    return lines


def figure_lines(group: str, name: str, trainings: Sequence[Training]) -> Iterator[Line]:
    """A line for each arm that has trainings with this figure; the first one is compared with."""
    values: dict[str, dict[tuple[int, str], float]] = {}
    for training in trainings:
        own = values.setdefault(training.arm, {})
        if (value := training.figures[name]) is not None:
            own[training.seed, training.category] = value
    first, base = next(iter(values.items()))
    for arm, own in values.items():
        if own:
            differences = [value - base[of] for of, value in sorted(own.items()) if of in base]
            spread = None if arm == first else student_interval(differences)
            value, unit = statistics.fmean(own.values()), STEPS if name == STEPS else ""
            yield Line(group, f"{name}: {arm}", value, unit, len(own), spread=spread)


def student_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of a few differences; None of fewer than two."""
    count = len(differences)
    if count < 2:
        return None
    t = STUDENT[count - 2] if count - 2 < len(STUDENT) else NORMAL
    middle = statistics.fmean(differences)
    reach = t * statistics.stdev(differences) / math.sqrt(count)
    return middle - reach, middle + reach


def _difference(line: Line) -> str:
    if line.unit and line.spread is not None:
        return f"{sum(line.spread) / 2:+.0f} ({line.spread[0]:+.0f} to {line.spread[1]:+.0f})"
    return SHARES["difference in points (95 % interval)"](line)


COLUMNS: Columns = {
    "part": lambda line: line.group,
    "what": lambda line: line.what,
    "value, %": lambda line: (
        f"{line.value:.0f} {line.unit}" if line.unit and line.value else SHARES["value, %"](line)
    ),
    "difference in points (95 % interval)": _difference,
    "trainings": lambda line: str(line.n),
}


if __name__ == "__main__":
    exit_with(main)
