"""What synthetic pairs and scenes add, measured with the code of `evaluate gain`.

Every arm has its own pairs and everything else in common: networks, steps, batches, the list of
recipes that it picks its best from on validation scenes, and the scenes that it is tested on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from aligndiff.core.console import progress
from aligndiff.core.device import choose_dtype
from aligndiff.core.files import file_fingerprint
from aligndiff.core.weights import TINY
from aligndiff.evaluation.gain.learn import Machine, TestSet, train_and_test
from aligndiff.evaluation.gain.material import COMPOSED, GainMaterial
from aligndiff.evaluation.gain.networks import choose_network
from aligndiff.evaluation.gain.recipes import RECIPES, GainRecipe
from aligndiff.evaluation.gain.units import GainUnit, UnitRecord, UnitRecords, choose_recipe
from aligndiff.evaluation.gain.work import hash_seed
from aligndiff.segmenters.load import SegmenterOptions, choose_segmenter
from aligndiff.segmenters.metrics import class_iou
from aligndiff.segmenters.trained.learn import Budget
from scripts.tiny_world.measure.pairs import (
    Level,
    Masks,
    base_surroundings,
    real_pairs,
    scenes,
    synthetic_pairs,
)
from scripts.tiny_world.measure.runs import GainSize
from scripts.tiny_world.world.example import EXAMPLES

PLACES = ("company", "alone")  # how the object is tested: beside another thing, or by itself
SIDE = 128  # px: what the networks see
NETWORK = choose_network(TINY)  # it knows the base categories, as people's networks know ImageNet
STRONG, USUAL = RECIPES["strong_paste"], RECIPES["paste"]


Extra = Masks | Literal["true"]  # synthetic pairs by their masks, or rendered true pairs


@dataclass(frozen=True)
class GainArm:
    """Where the pairs of an arm come from, beside ``real`` real ones; None: nowhere."""

    extra: Extra | None = None
    real: int = 5
    scenes: bool = True  # whether its synthetic pairs are pasted, too
    few_prompts: bool = False  # whether its samples are of a few prompts
    level: Level = "category"


ARMS = {
    "real": GainArm(),
    "synthetic": GainArm("mask"),
    "true": GainArm("true"),
    "no scenes": GainArm("mask", scenes=False),
    "heatmaps": GainArm("heatmap"),
    "consensus only": GainArm("consensus"),
    "judge's masks": GainArm("judge"),
    "few prompts": GainArm("mask", few_prompts=True),
    "real, 1 pair": GainArm(real=1),
    "synthetic, 1 pair": GainArm("mask", real=1),
    "real, 3 pairs": GainArm(real=3),
    "synthetic, 3 pairs": GainArm("mask", real=3),
    "object, real": GainArm(level="object"),
    "object, synthetic": GainArm("mask", level="object"),
    "object, true": GainArm("true", level="object"),
}
WITHOUT = ("no scenes", "heatmaps", "consensus only", "judge's masks")  # one ingredient less


@dataclass(frozen=True)
class GainJob:
    """All that a worker needs to do any unit."""

    draws: tuple[Path, ...]  # dataset folders after step 3
    few_prompts: tuple[Path, ...]  # the same draws with samples of few prompts
    objects: Path  # the example objects, after step 3
    size: GainSize
    few_shot: str  # the checkpoint of the few-shot segmenter
    judge: Path  # the weights of the judge
    records: Path

    def open_records(self) -> UnitRecords:
        decisive = (
            "samples",
            "company",
            "alone",
            "validation",
            "base",
            "steps",
            "few_shot_steps",
            "prompts",
        )
        settings = {name: getattr(self.size, name) for name in decisive}
        weights = choose_segmenter(SegmenterOptions(fss_ckpt_path=self.few_shot)).identity
        pairs = [
            file_fingerprint(folder / name / "1.jpg")
            for folder in (*self.draws, self.objects)
            for name in EXAMPLES
        ]
        told = {"network": NETWORK.identity, "few_shot": weights, "pairs": pairs}
        return UnitRecords(self.records, settings | told)


@dataclass(frozen=True)
class ArmFigures:
    """What an arm reached by a recipe: the mIoU in [0, 1] of each draw, by place."""

    arm: str
    recipe: str
    samples: int
    mious: dict[str, tuple[float, ...]]

    def mean(self, place: str) -> float:
        return float(np.mean(self.mious[place]))


@dataclass
class GainFindings:
    """The gain, as it was measured.

    Attributes:
        best: real, synthetic and true pairs, each by its best recipe, by place.
        networks: the same of ordinary networks alone, in company.
        told: the arms without a target.
        curve: synthetic pairs by their number, on the draws that have them.
        prompts: as many samples of many prompts and of few.
        validation: by place and arm, what each recipe reached on validation scenes.
    """

    best: dict[str, dict[str, ArmFigures]] = field(default_factory=dict)
    networks: dict[str, ArmFigures] = field(default_factory=dict)
    told: list[ArmFigures] = field(default_factory=list)
    curve: list[ArmFigures] = field(default_factory=list)
    prompts: list[ArmFigures] = field(default_factory=list)
    validation: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


def measure_gain(job: GainJob) -> GainFindings:
    """Choose recipes, train, test; what has a record is not done again."""
    size, records, findings = job.size, job.open_records(), GainFindings()
    arms = ("real", "synthetic")
    tried = {
        arm: [u for r in RECIPES.values() for u in _units(job, arm, r, size.choosing_draws)]
        for arm in arms
    }
    _run_all(job, [unit for units in tried.values() for unit in units], "choosing recipes")
    network_choice = {}
    for place in PLACES:
        findings.best[place], findings.validation[place] = {}, {}
        for arm in arms:
            every, test = tuple(RECIPES.values()), f"validation {place}"
            choice = choose_recipe(records, tried[arm], every, test)
            findings.validation[place][arm] = choice.ious
            findings.best[place][arm] = ArmFigures(arm, choice.recipe.name, 0, {})
            if place == "company":
                of_networks = [recipe for recipe in every if recipe.learner == "network"]
                network_choice[arm] = choose_recipe(records, tried[arm], of_networks, test)
        # A ceiling has what the synthetic pairs would reach if they were true.
        recipe = findings.best[place]["synthetic"].recipe
        findings.best[place]["true"] = ArmFigures("true", recipe, 0, {})
    networks = {arm: choice.recipe for arm, choice in network_choice.items()}
    plan = _Finals(job, findings, networks)
    _run_all(job, plan.units(), "training")
    plan.fill(records)
    return findings


@dataclass(frozen=True)
class _Finals:
    """The trainings that the table is made of, once recipes are chosen."""

    job: GainJob
    findings: GainFindings
    networks: dict[str, GainRecipe]

    def units(self) -> list[GainUnit]:
        groups = [*self._best().values(), *self._networks().values()]
        groups += [*self._told().values(), *self._curve().values(), *self._prompts()]
        return list(dict.fromkeys(unit for units in groups for unit in units))

    def fill(self, records: UnitRecords) -> None:
        """Put the figures of all these trainings into the findings."""
        found = self.findings
        for (place, arm), units in self._best().items():
            found.best[place][arm] = figures_of(records, units)
        found.networks.update({a: figures_of(records, u) for a, u in self._networks().items()})
        found.told += [figures_of(records, units) for units in self._told().values()]
        found.curve += [figures_of(records, units) for units in self._curve().values()]
        found.prompts += [figures_of(records, units) for units in self._prompts()]

    def _best(self) -> dict[tuple[str, str], list[GainUnit]]:
        return {
            (place, arm): _units(self.job, arm, RECIPES[figures.recipe], self.job.size.draws)
            for place, arms in self.findings.best.items()
            for arm, figures in arms.items()
        }

    def _networks(self) -> dict[str, list[GainUnit]]:
        chosen = {**self.networks, "true": self.networks["synthetic"]}
        return {a: _units(self.job, a, recipe, self.job.size.draws) for a, recipe in chosen.items()}

    def _told(self) -> dict[tuple[str, str], list[GainUnit]]:
        """One ingredient less, fewer real pairs, the example objects: by the best networks."""
        draws, recipes = self.job.size.told_draws, {}
        for arm, kind in ARMS.items():
            if arm not in ("real", "synthetic", "true", "few prompts"):
                recipes[arm] = self.networks["synthetic" if kind.extra else "real"]
        told = {(arm, r.name): _units(self.job, arm, r, draws) for arm, r in recipes.items()}
        other = USUAL if self.networks["synthetic"] != USUAL else STRONG
        told["synthetic", other.name] = _units(self.job, "synthetic", other, draws)
        return told

    def _curve(self) -> dict[int, list[GainUnit]]:
        """Up to as many as all draws have on those that are told, beyond on the first."""
        size, recipe = self.job.size, self.networks["synthetic"]
        curve = {}
        for count in size.counts:
            draws = size.told_draws if count <= size.samples else 1
            curve[count] = _units(self.job, "synthetic", recipe, draws, count)
        return curve

    def _prompts(self) -> list[list[GainUnit]]:
        count, recipe = self.job.size.few_samples, self.networks["synthetic"]
        arms = ("synthetic", "few prompts")
        return [_units(self.job, arm, recipe, self.job.size.draws, count) for arm in arms]


def figures_of(records: UnitRecords, units: Sequence[GainUnit]) -> ArmFigures:
    """The figures of the units of one arm and recipe."""
    mious = {}
    for place in PLACES:
        by_draw: dict[int, list[float]] = {}
        for unit in units:
            record = records.get(unit)
            assert record is not None, "figures are made of units that were done"
            by_draw.setdefault(unit.draw, []).append(class_iou(record.sums[f"test {place}"]))
        mious[place] = tuple(float(np.mean(ious)) for ious in by_draw.values())
    first = units[0]
    return ArmFigures(first.arm, first.recipe, first.samples, mious)


def _units(
    job: GainJob, arm: str, recipe: GainRecipe, draws: int, samples: int | None = None
) -> list[GainUnit]:
    count = 0 if ARMS[arm].extra is None else (samples or job.size.samples)
    return [
        GainUnit(category, arm, recipe.name, count, draw)
        for draw in range(draws)
        for category in EXAMPLES
    ]


def run_unit(unit: GainUnit, job: GainJob) -> UnitRecord:
    """Train and test one segmenter."""
    tests = test_sets(unit.category, ARMS[unit.arm].level, job.size)
    recipe, seed = RECIPES[unit.recipe], hash_seed(unit.draw, unit.seed)
    return UnitRecord(train_and_test(recipe, material_of(unit, job), tests, machine_of(job), seed))


def machine_of(job: GainJob) -> Machine:
    """The models and budgets that all trainings have in common, on the CPU."""
    return Machine(
        NETWORK,
        choose_segmenter(SegmenterOptions(fss_ckpt_path=job.few_shot)),
        Budget(job.size.steps, rate=NETWORK.rate),
        Budget(job.size.few_shot_steps, batch_size=8),
        torch.device("cpu"),
        choose_dtype("auto", torch.device("cpu")),
    )


def material_of(unit: GainUnit, job: GainJob) -> GainMaterial:
    """What the unit learns from, whatever its recipe."""
    return _material(replace(unit, recipe="", seed=0), job)


@lru_cache(maxsize=2)
def _material(unit: GainUnit, job: GainJob) -> GainMaterial:
    arm, name = ARMS[unit.arm], unit.category
    draws = job.few_prompts if arm.few_prompts else job.draws
    folder = job.objects if arm.level == "object" else draws[unit.draw]
    extra = []
    if arm.extra == "true":
        extra = scenes("true", name, unit.samples, True, arm.level)
    elif arm.extra is not None:
        extra = synthetic_pairs(folder, name, arm.extra, unit.samples, unit.draw, job.judge)
    return GainMaterial(
        tuple(real_pairs(folder / name, arm.real, unit.draw)),
        tuple(extra),
        base_surroundings(job.size.base),
        SIDE,
        hash_seed(unit.draw, 1),
        arm.scenes,
        min(COMPOSED, 16 * job.size.steps),
    )


@lru_cache(maxsize=2)
def test_sets(category: str, level: Level, size: GainSize) -> dict[str, TestSet]:
    """The same for every training, so drawn once by each process."""
    counts = {"validation": (size.validation, size.validation // 2)}
    counts["test"] = size.company, size.alone
    return {
        f"{use} {place}": TestSet(
            tuple(scenes(use, category, count, place == "alone", level)), SIDE
        )
        for use, both in counts.items()
        for place, count in zip(PLACES, both, strict=True)
    }


def _run_all(job: GainJob, units: Sequence[GainUnit], activity: str) -> None:
    """Do what has no record yet; a worker is a process of one thread."""
    records = job.open_records()
    missing = sorted(records.missing(units), key=lambda u: (u.category, u.draw, u.arm, u.samples))
    with progress(activity, len(missing)) as advance:
        for unit, record in _results(job, missing):
            records.put(unit, record)
            advance()


def _results(job: GainJob, units: Sequence[GainUnit]) -> Iterator[tuple[GainUnit, UnitRecord]]:
    if job.size.workers < 2:
        yield from ((unit, run_unit(unit, job)) for unit in units)
        return
    # Small layers gain little from a second thread, much from a second process.
    with ProcessPoolExecutor(
        job.size.workers,
        mp_context=get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:
        yield from zip(units, pool.map(run_unit, units, [job] * len(units)), strict=True)
