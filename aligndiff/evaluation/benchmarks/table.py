"""Which few-shot benchmarks there are.

A module has `TITLE`, `FOLDS`, the number of its folds, and `open_test(fold)`, which gives the
`FewShotTest` of a `Fold`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.evaluation.benchmarks.fold import Fold
from aligndiff.evaluation.episodes import FewShotTest

BENCHMARKS = {
    "pascal": "aligndiff.evaluation.benchmarks.pascal",
    "coco": "aligndiff.evaluation.benchmarks.coco",
    "fss": "aligndiff.evaluation.benchmarks.fss",
    "lvis": "aligndiff.evaluation.benchmarks.lvis",
    "pascal_part": "aligndiff.evaluation.benchmarks.pascal_part",
}
MOST_FOLDS = 10  # of LVIS-92i


def open_benchmark(name: str, fold: Fold) -> FewShotTest:
    """The test of one fold; InputError for a fold that there is not, or for files that lack."""
    module = _module(name)
    if fold.number >= module.FOLDS:
        has = "one test split and no folds; leave it out"
        if module.FOLDS > 1:
            has = f"folds 0 to {module.FOLDS - 1}"
        raise InputError(f"--fold {fold.number}: {module.TITLE} has {has}")
    test: FewShotTest = module.open_test(fold)
    if not test.items:
        problem = f"no class has a query and --shot {fold.shot} images; use a smaller --shot"
        raise InputError(f"{test.title}: {problem}")
    return test


def has_folds(name: str) -> bool:
    """Whether the benchmark tests a part of its classes at a time."""
    return bool(_module(name).FOLDS > 1)


def _module(name: str) -> Any:
    return import_module(BENCHMARKS[name])
