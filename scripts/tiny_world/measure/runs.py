"""How much is measured, and the three scripts run for it as a user would: commands and files."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from aligndiff.core.console import say
from aligndiff.core.errors import AlignDiffError, InputError
from scripts.reporting import REPOSITORY, last_words
from scripts.tiny_world.measure.datasets import make_draw, make_objects, make_plain, make_swept
from scripts.tiny_world.world.example import EXAMPLES

INVERSION, SYNTHESIS, REFINEMENT = (
    "image_mask_inversion",
    "diffuse_img_attention",
    "mask_generation",
)


@dataclass(frozen=True)
class GainSize:
    """How much is trained and tested."""

    draws: int  # of five real pairs, each with samples of its own
    choosing_draws: int  # of these, how many the recipes are chosen by
    told_draws: int  # of these, how many the lines without a target are measured on
    prompts: int  # of each category and draw; samples are so many times a whole number
    few_prompts: int  # of these, for the line on what many prompts give
    few_samples: int  # of few prompts, and as many of all; so many times their number
    samples: int  # of each category and draw
    most: int  # of the first draw, for the plot
    counts: tuple[int, ...]  # numbers of samples to plot
    company: int  # scenes of each object in company that are tested on
    alone: int
    validation: int  # scenes in company, and half as many alone
    base: int  # scenes of base categories that all arms have
    steps: int  # of a network
    few_shot_steps: int
    workers: int  # processes; changes the time only


FULL_GAIN = GainSize(
    draws=5,
    choosing_draws=1,
    told_draws=1,
    prompts=25,
    few_prompts=3,
    few_samples=60,
    samples=100,
    most=500,
    counts=(20, 50, 100, 200, 500),
    company=200,
    alone=100,
    validation=60,
    base=300,
    steps=250,
    few_shot_steps=60,
    workers=2,
)
QUICK_GAIN = GainSize(
    draws=2,
    choosing_draws=1,
    told_draws=1,
    prompts=2,
    few_prompts=1,
    few_samples=2,
    samples=2,
    most=4,
    counts=(1, 2, 4),
    company=2,
    alone=2,
    validation=2,
    base=4,
    steps=1,
    few_shot_steps=1,
    workers=1,
)


@dataclass(frozen=True)
class MeasurementSize:
    """How many of everything; the full measurement takes about forty minutes."""

    judge_scenes: int  # fresh scenes that the judge itself is tested on
    plain_images: int  # of each of the ten categories, from its plain prompt (lines 1 and 3)
    word_images: int  # of each example object, from its plain prompt (line 2)
    learned_images: int  # of each example object, from its embedding (lines 2, 4 and 5)
    inversion_steps: int | None  # of step 1; None is the script's own default
    inference_steps: int | None  # denoising steps of an image; None: as the example's dataset.json
    bg_lambdas: tuple[float, ...]  # of line 6
    swept_steps: int  # of step 1 for each value of line 6: fewer, as there are many
    swept_images: int  # of each example object and value
    gain: GainSize  # of line 5
    company_scenes: int  # fresh scenes of each category (line 7)
    adapted: Mapping[str, int]  # images of each example object by --adapt (line 8)
    adapt_steps: int | None  # of step 1 with --adapt; None is the script's own default
    rare_images: int  # of the rare object by each kind of step 1 (line 9)


FULL = MeasurementSize(
    judge_scenes=400,
    plain_images=12,
    word_images=40,
    learned_images=200,
    inversion_steps=None,
    inference_steps=None,
    bg_lambdas=(0.0, 0.3, 0.6, 1.0, 1.5),
    swept_steps=120,
    swept_images=16,
    gain=FULL_GAIN,
    company_scenes=20,
    adapted={"lora": 200, "full": 60},
    adapt_steps=None,
    rare_images=60,
)
# To try the flow: its figures mean nothing.
QUICK = MeasurementSize(
    judge_scenes=8,
    plain_images=1,
    word_images=2,
    learned_images=3,
    inversion_steps=1,
    inference_steps=2,
    bg_lambdas=(0.0, 0.6),
    swept_steps=1,
    swept_images=1,
    gain=QUICK_GAIN,
    company_scenes=1,
    adapted={"lora": 2, "full": 2},
    adapt_steps=1,
    rare_images=1,
)


@dataclass(frozen=True)
class MeasurementFolders:
    """The folders of a measurement."""

    folder: Path

    @property
    def plain(self) -> Path:
        """Ten categories and their plain prompts."""
        return self.folder / "plain"

    @property
    def objects(self) -> Path:
        """The example objects and their embeddings."""
        return self.folder / "objects"

    @property
    def sweep(self) -> Path:
        """The example objects again, where several --bg_lambda are learned."""
        return self.folder / "sweep"

    @property
    def swept(self) -> Path:
        """What is drawn with each of those embeddings."""
        return self.folder / "swept"

    def gain(self, draw: int) -> Path:
        """Five real pairs of each object, of different kinds and looks, and their samples."""
        return self.folder / f"draw_{draw}"

    def few_prompts(self, draw: int) -> Path:
        """The same pairs, and samples of the first few of their prompts."""
        return self.folder / f"draw_{draw}_few_prompts"

    @property
    def trainings(self) -> Path:
        """The records of line 5."""
        return self.folder / "trainings"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"


@dataclass
class Clock:
    """Seconds that each part of the measurement took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        say(f"{name} ...")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)
        say(f"{name}: {self.seconds[name]:.0f} s")


@dataclass(frozen=True)
class Scripts:
    """Runs the three scripts with one choice of models, seed and further options of step 2."""

    logs: Path
    seed: int
    diffusion_model: str
    fss_ckpt_path: str
    drawing: tuple[str, ...] = ()

    def learn(self, dataset: Path, *options: object) -> None:
        """Step 1."""
        self._run(INVERSION, dataset, *self._models(), *options)

    def draw(self, dataset: Path, *options: object) -> None:
        """Step 2."""
        self._run(SYNTHESIS, dataset, *self._models(), *options, *self.drawing)

    def refine(self, dataset: Path) -> None:
        """Step 3."""
        self._run(REFINEMENT, dataset, "--fss_ckpt_path", self.fss_ckpt_path)

    def _models(self) -> tuple[object, ...]:
        return "--diffusion_model", self.diffusion_model, "--seed", self.seed

    def _run(self, script: str, dataset: Path, *options: object) -> None:
        """Run one script; AlignDiffError with its last line when it fails."""
        # The same format on every machine, so that the figures are of the same data.
        words = ["--dataset_dir", str(dataset), "--precision", "float32", *map(str, options)]
        log = self.logs / f"{dataset.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ python -m scripts.{script} {' '.join(words)}\n")
            file.flush()
            code = run_module(f"scripts.{script}", words, file)
        if code:
            kind = InputError if code == InputError.exit_code else AlignDiffError
            raise kind(
                f"{script} ended with exit code {code}: {last_words(log)}; the whole story is in "
                f"{log}; remove {dataset} to start afresh"
            )
        say(f"  {script} in {dataset.name}: {time.monotonic() - started:.0f} s")


def run_module(module: str, words: list[str], output: IO[str]) -> int:
    """``python -m module words`` in the repository, all it says into the open file ``output``."""
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(
        command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, check=False
    ).returncode


def drawing_steps(effort: MeasurementSize) -> tuple[object, ...]:
    """The option of step 2, if any."""
    steps = effort.inference_steps
    return () if steps is None else ("--num_inference_steps", steps)


def draw_plain(
    scripts: Scripts, work: MeasurementFolders, effort: MeasurementSize, lines: Collection[int]
) -> None:
    """Images of plain prompts: some of every category, more of the example objects."""
    make_plain(work.plain)
    steps = (*drawing_steps(effort), "--no_sheet")
    if {1, 3} & set(lines):
        scripts.draw(work.plain, "--image_per_entry", effort.plain_images, *steps)
    if 2 in lines:
        count = max(effort.word_images, effort.plain_images)
        scripts.draw(work.plain, "--image_per_entry", count, *steps, "--categories", *EXAMPLES)


def draw_objects(
    scripts: Scripts, work: MeasurementFolders, effort: MeasurementSize, refine: bool
) -> None:
    """The example objects from real pairs to images, and with ``refine`` to masks."""
    make_objects(work.objects)
    inversion = ["--no_sheet"]
    if effort.inversion_steps is not None:
        inversion += ["--inversion_steps", str(effort.inversion_steps)]
    scripts.learn(work.objects, *inversion)
    steps = drawing_steps(effort)
    scripts.draw(work.objects, "--image_per_entry", effort.learned_images, *steps)
    if refine:
        scripts.refine(work.objects)


def draw_sweep(scripts: Scripts, work: MeasurementFolders, effort: MeasurementSize) -> None:
    """The same with an embedding for each value of --bg_lambda, learned in fewer steps."""
    make_objects(work.sweep)
    values = ("--bg_lambda", *(f"{value:g}" for value in effort.bg_lambdas))
    scripts.learn(work.sweep, *values, "--inversion_steps", effort.swept_steps, "--no_sheet")
    make_swept(work.swept, work.sweep, effort.bg_lambdas)
    steps = drawing_steps(effort)
    scripts.draw(work.swept, "--image_per_entry", effort.swept_images, *steps)
    scripts.refine(work.swept)


def draw_gain(scripts: Scripts, work: MeasurementFolders, effort: MeasurementSize) -> None:
    """The draws of line 5: fresh real pairs, and images of many and of few prompts with masks."""
    size = effort.gain
    for draw in range(size.draws):
        count = size.most if draw == 0 else size.samples
        # Fresh images, too: an image's noise follows from the seed, its prompt and its number.
        options = (*drawing_steps(effort), "--no_sheet", "--seed", scripts.seed + 1000 * (draw + 1))
        for folder, prompts, samples in (
            (work.gain(draw), size.prompts, count),
            (work.few_prompts(draw), size.few_prompts, size.few_samples),
        ):
            make_draw(folder, draw, prompts)
            scripts.draw(folder, "--image_per_entry", samples // prompts, *options)
            scripts.refine(folder)
