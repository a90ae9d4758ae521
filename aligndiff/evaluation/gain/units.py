"""The trainings of an evaluation: which there can be, which are needed, and what became of them.

Every arm tries the recipes of the list and is judged on validation pairs; then its best recipe is
trained and tested. A training is a unit of work that any process can do, in any order; what it
found is a record on disk, and everything that follows is read from records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.core.files import fingerprint, read_json, write_json
from aligndiff.evaluation.gain.recipes import RECIPES, USUAL_CHOICE, GainRecipe
from aligndiff.segmenters.metrics import Sums, class_iou

REAL, SYNTHETIC = "real", "synthetic"  # the two arms that are compared
VALIDATION, TEST = "validation", "test"  # the names of the test sets


@dataclass(frozen=True, order=True)
class GainUnit:
    """One training and its tests.

    Attributes:
        category: the class.
        arm: where its pairs come from.
        recipe: its name.
        samples: of the synthetic pairs, how many are used at most.
        draw: which real pairs are validated on, and which samples are drawn.
        fold: of a leave-out, which part of the real pairs is tested on.
        seed: of the weights and batches.
        held_out: whether pairs are held out to validate on; it is tested on those alone then.
    """

    category: str
    arm: str
    recipe: str
    samples: int
    draw: int
    fold: int = 0
    seed: int = 0
    held_out: bool = False


@dataclass(frozen=True)
class UnitRecord:
    """What a training found: the sums of every image, int64 (n, 2), of each test set."""

    sums: dict[str, Sums]
    seconds: float = 0.0


class UnitRecords:
    """The records of a run, a file each: `settings` are all else that decides their figures."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, settings
        self._read: dict[GainUnit, UnitRecord] = {}

    def path(self, unit: GainUnit) -> Path:
        key = fingerprint([asdict(unit), self.settings])
        return self.folder / f"{unit.category}-{unit.arm}-{unit.recipe}-{key}.json"

    def get(self, unit: GainUnit) -> UnitRecord | None:
        """None for a training that is still to be done. InputError for a broken file."""
        if unit not in self._read and self.path(unit).exists():
            self._read[unit] = _read_record(self.path(unit))
        return self._read.get(unit)

    def put(self, unit: GainUnit, record: UnitRecord) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        sums = {name: rows.tolist() for name, rows in record.sums.items()}
        told = {"unit": asdict(unit), "sums": sums, "seconds": round(record.seconds, 2)}
        write_json(self.path(unit), told)

    def missing(self, units: Iterable[GainUnit]) -> list[GainUnit]:
        return [unit for unit in units if self.get(unit) is None]

    def iou(self, units: Sequence[GainUnit], test: str) -> float:
        """Of units of one class: the mean over draws and seeds, the folds of each put together.

        KeyError for one that was not done.
        """
        rounds: dict[tuple[int, int], list[Sums]] = {}
        for unit in units:
            record = self.get(unit)
            if record is None:
                raise KeyError(unit)
            rounds.setdefault((unit.draw, unit.seed), []).append(record.sums[test])
        return float(np.mean([class_iou(np.concatenate(sums)) for sums in rounds.values()]))


def _read_record(path: Path) -> UnitRecord:
    try:
        told = read_json(path)
        sums = {
            name: np.asarray(rows, dtype=np.int64).reshape(-1, 2)
            for name, rows in told["sums"].items()
        }
        return UnitRecord(sums, float(told["seconds"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is no record of a training; remove it") from error


@dataclass(frozen=True)
class Choice:
    """The recipe that an arm takes, and what each of the list reached on validation, in [0, 1].

    `ious` is empty where there was nothing to choose by.
    """

    recipe: GainRecipe
    ious: dict[str, float]


def choose_recipe(
    records: UnitRecords,
    candidates: Sequence[GainUnit],
    recipes: Sequence[GainRecipe],
    test: str = VALIDATION,
) -> Choice:
    """That of `recipes` with the best mean validation IoU over the classes; of equal the first.

    `candidates` are the units of one arm that were trained to choose by; without any of them it is
    what won on the tiny world, or else the last.
    """
    ious = {}
    for name in (recipe.name for recipe in recipes):
        own = [unit for unit in candidates if unit.recipe == name]
        if not own:
            continue
        classes = dict.fromkeys(unit.category for unit in own)
        ious[name] = float(
            np.mean([records.iou([u for u in own if u.category == c], test) for c in classes])
        )
    if not ious:
        usual = RECIPES[USUAL_CHOICE]
        return Choice(usual if usual in recipes else recipes[-1], {})
    return Choice(RECIPES[max(ious, key=lambda name: ious[name])], ious)
