"""Measure on the tiny world how good the choices are that likeness makes.

choice: step 1 with --choose; then each value of --bg_lambda draws the same seeds, and the judge
says how many images have the look. The chosen value is to be within 2 points of the best one.
likeness: does it find the samples without the look, of the learned word and of the plain one? The
area under the curve, and its 95 % interval (bootstrap over samples). Of the same images.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aligndiff.core.console import quiet_libraries, say
from aligndiff.core.exits import exit_with
from aligndiff.core.files import read_json
from aligndiff.core.options import Options, option, parse
from aligndiff.inversion.config import SWEEP
from scripts.reporting import Columns, Line, Report, Target, circumstances, verdict

if TYPE_CHECKING:
    from scripts.tiny_world.measure.judge import Judge
    from scripts.tiny_world.measure.runs import Scripts
    from scripts.tiny_world.measure.samples import JudgedSample

MODULE = "scripts.tiny_world.measure.choice"
EPILOG = "Running it again continues: what is learned and drawn stays."
RESAMPLED = 1000
WITHIN = 0.02  # of the best share of images with the look
LEAST_AREA = 0.9


@dataclass(frozen=True)
class ChoiceMeasurement(Options):
    """The options of the measurement."""

    bg_lambdas: tuple[float, ...] = option(SWEEP, "values that are chosen from", 0, 1000)
    steps: int = option(120, "steps of step 1 for each value", 1, 10**5)
    images: int = option(100, "images of each object and value that the judge sees", 1, 1000)
    plain_images: int = option(30, "images of each object's plain word (likeness)", 1, 1000)
    categories: tuple[str, ...] = option((), "objects that are learned", shown_default="both")
    seed: int = option(0, "of all three steps")
    diffusion_model: str = option("tiny", "'tiny' or a folder that knows the tiny world")
    work_dir: Path = option(Path("runs/measure_choice"), "folder for all that is made")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, choose, draw, judge, report; 0 when it ran, whatever the figures."""
    argv = sys.argv[1:] if argv is None else argv
    options = {"measurement": ChoiceMeasurement}
    line = parse(f"python -m {MODULE}", __doc__ or "", EPILOG, options, argv)
    config = line.config(ChoiceMeasurement)
    quiet_libraries()

    from scripts.tiny_world.measure.judge import WEIGHTS, load_judge

    judge, started, lines = load_judge(WEIGHTS), time.monotonic(), list[Line]()
    where = circumstances(shlex.join(["python", "-m", MODULE, *argv]))
    report = Report("the choice made for you", "choice", COLUMNS, where)
    for found in measure(config, judge):
        lines.append(found)
        report.write(config.work_dir, lines, (time.monotonic() - started) / 60)
    report.show(lines, (time.monotonic() - started) / 60)
    say(f"all of it: {config.work_dir}")
    return 0


def measure(config: ChoiceMeasurement, judge: Judge) -> Iterator[Line]:
    """Learn and choose, draw with every value, then with the plain words."""
    from scripts.tiny_world.measure.datasets import make_objects, make_plain_objects
    from scripts.tiny_world.measure.samples import judge_dataset

    folder, scripts = config.work_dir.resolve(), _scripts(config)
    learned, plain = folder / "learned", folder / "plain"
    values = [f"{value:g}" for value in config.bg_lambdas]
    make_objects(learned)
    only = ("--categories", *config.categories) if config.categories else ()
    recipe = ("--bg_lambda", *values, "--choose", "--inversion_steps", config.steps)
    scripts.learn(learned, *recipe, *only)
    of_value: dict[str, list[JudgedSample]] = {}
    for value in values:
        dataset = folder / f"bg_lambda_{value}"
        _take(learned, dataset, value)
        _draw_and_refine(scripts, dataset, config.images, *only)
        of_value[value] = judge_dataset(judge, dataset, config.images)
    yield from choice_lines(learned, of_value)
    make_plain_objects(plain)
    _draw_and_refine(scripts, plain, config.plain_images, *only)
    words = [sample for samples in of_value.values() for sample in samples]
    yield from likeness_lines(words, judge_dataset(judge, plain, config.plain_images))


def choice_lines(learned: Path, of_value: dict[str, list[JudgedSample]]) -> Iterator[Line]:
    """Of each object, the look by value, and how far the chosen one is from the best."""
    for category in sorted(
        {sample.category for samples in of_value.values() for sample in samples}
    ):
        chosen = read_json(learned / category / "learned_embeddings" / "choice.json")
        scores = {f"{given['bg_lambda']:g}": given["score"] for given in chosen["judged"]}
        shares = dict[str, float]()
        for value, samples in of_value.items():
            own = [has_look(sample) for sample in samples if sample.category == category]
            shares[value] = float(np.mean(own))
            what = f"look: bg_lambda {value}, score {scores[value]:.4f}"
            yield Line(f"choice, {category}", what, shares[value], "", len(own))
        taken = f"{chosen['bg_lambda']:g}"
        short = max(shares.values()) - shares[taken]
        what = f"chosen: {taken}, short of the best"
        yield Line(f"choice, {category}", what, short, "", len(own), Target(WITHIN, "at most"))


def likeness_lines(words: Sequence[JudgedSample], plain: Sequence[JudgedSample]) -> Iterator[Line]:
    """The area under the curve, of the learned words and with the plain ones, by object and all."""
    categories = sorted({sample.category for sample in words})
    for name, samples in (("learned word", words), ("learned and plain word", [*words, *plain])):
        for of in ([category] for category in categories):
            yield _area_line(f"{name}, {of[0]}", [s for s in samples if s.category in of])
        yield _area_line(f"{name}, all objects", samples, Target(LEAST_AREA))


def _area_line(what: str, samples: Sequence[JudgedSample], target: Target | None = None) -> Line:
    """Of samples that step 3 gave a likeness."""
    told = [sample for sample in samples if sample.likeness is not None]
    values = np.array([sample.likeness for sample in told], float)
    looks = np.array([has_look(sample) for sample in told], bool)
    value = area_under_curve(values, looks)
    spread = None if value is None else _interval(values, looks)
    return Line("likeness", what, value, "", len(told), target, spread)


def area_under_curve(values: np.ndarray, positive: np.ndarray) -> float | None:
    """How often a positive, bool (n,), has the higher value, float (n,); ties count half.

    None where there are no positives, or none but these.
    """
    high, low = values[positive], values[~positive]
    if not (len(high) and len(low)):
        return None
    ahead = (high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean()
    return float(ahead)


def _interval(values: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """95 % of areas over samples drawn anew with replacement."""
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, len(values), len(values)) for _ in range(RESAMPLED))
    areas = [area_under_curve(values[at], positive[at]) for at in drawn]
    low, high = np.quantile([area for area in areas if area is not None], [0.025, 0.975])
    return float(low), float(high)


def has_look(sample: JudgedSample) -> bool:
    """Whether the judge sees the object, in its texture and both its colours."""
    from scripts.tiny_world.world.example import EXAMPLES

    return sample.recognised and sample.verdict.wears(EXAMPLES[sample.category])


def _take(learned: Path, dataset: Path, value: str) -> None:
    """A dataset of the same objects, with the embeddings of one value where step 2 looks."""
    from scripts.tiny_world.measure.datasets import make_objects

    make_objects(dataset)
    for source in learned.glob(f"*/learned_embeddings/bg_lambda_{value}"):
        target = dataset / source.parts[-3] / "learned_embeddings"
        shutil.copytree(source, target, dirs_exist_ok=True)


def _draw_and_refine(scripts: Scripts, dataset: Path, count: int, *only: str) -> None:
    scripts.draw(dataset, "--image_per_entry", count, "--no_sheet", "--preset", "fast", *only)
    scripts.refine(dataset)


def _scripts(config: ChoiceMeasurement) -> Scripts:
    from scripts.tiny_world.measure.runs import Scripts

    model = config.diffusion_model
    if model != "tiny":
        model = str(Path(model).resolve())
    return Scripts((config.work_dir / "logs").resolve(), config.seed, model, "tiny")


def _spread(line: Line) -> str:
    return "" if line.spread is None else f"{line.spread[0]:.3f} to {line.spread[1]:.3f}"


COLUMNS: Columns = {
    "part": lambda line: line.group,
    "what": lambda line: line.what,
    "value": lambda line: "-" if line.value is None else f"{line.value:.3f}",
    "95 % interval": _spread,
    "target": lambda line: "" if line.target is None else f"{line.target.kind} {line.target.bound}",
    "holds": verdict,
    "n": lambda line: str(line.n),
}


if __name__ == "__main__":
    exit_with(main)
