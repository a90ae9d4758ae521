"""Splits, choices, sums and intervals told by hand; nothing is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.support import PairPaths
from aligndiff.evaluation.gain.classes import GainClass, split_class
from aligndiff.evaluation.gain.config import GainConfig, GainTraining
from aligndiff.evaluation.gain.figures import arm_sums, compare, gain_curve, resampled_ious
from aligndiff.evaluation.gain.plan import ARMS, GainPlan, plan_gain
from aligndiff.evaluation.gain.recipes import RECIPES, USUAL_CHOICE
from aligndiff.evaluation.gain.units import (
    REAL,
    SYNTHETIC,
    TEST,
    VALIDATION,
    GainUnit,
    UnitRecord,
    UnitRecords,
    choose_recipe,
)

NAMES = ("usual", "strong_paste", "few_shot")


def paths(name: str, count: int) -> tuple[PairPaths, ...]:
    files = [Path(name, f"{at}.jpg") for at in range(count)]
    return tuple(PairPaths(file.stem, file, file.with_suffix(".png")) for file in files)


def a_class(name: str = "cat", tests: int = 4, real: int = 5, samples: int = 6) -> GainClass:
    made = tuple(f"sample{at}" for at in range(samples))
    return GainClass(name, paths("real", real), made, paths("test", tests), ())  # type: ignore[arg-type]


def a_plan(*classes: GainClass, **options: object) -> GainPlan:
    config = GainConfig(Path(), **{"draws": 2, "counts": (2, 100), "resamples": 200, **options})  # type: ignore[arg-type]
    return plan_gain(classes or (a_class(),), config, NAMES, True, True, True)


def test_a_leave_out_tests_every_real_pair_once_and_never_learns_from_it() -> None:
    pairs = a_class(tests=0)
    for draw in range(3):
        tested = []
        for fold in range(5):
            final = split_class(pairs, draw, fold, 5, False)
            held = split_class(pairs, draw, fold, 5, True)
            tested += final.tests
            assert not set(final.real) & set(final.tests) and len(final.real) == 4
            assert held.tests == () and len(held.validation) == 1 and len(held.real) == 3
            assert not set(held.validation) & {*held.real, *final.tests}
        assert sorted(tested, key=str) == sorted(pairs.real, key=str)
    orders = {split_class(pairs, draw, 0, 5, False).samples for draw in range(4)}
    assert len(orders) > 1 and all(len(set(order)) == 6 for order in orders)


def test_with_a_folder_of_tests_all_real_pairs_are_learned_from() -> None:
    pairs = a_class()
    split = split_class(pairs, 1, 0, 1, False)
    assert set(split.real) == set(pairs.real) and split.tests == pairs.tests
    assert a_plan(test_dir=Path("tests")).folds == 1 and a_plan(a_class(tests=0)).folds == 5


def fill(records: UnitRecords, units: list[GainUnit], iou: dict[tuple[str, str], int]) -> None:
    """Records in which an arm gets so many of ten pixels of every image right by a recipe."""
    for unit in units:
        rows = np.tile([iou[unit.arm, unit.recipe], 10], (4, 1))
        sums = {VALIDATION: rows} if unit.held_out else {TEST: rows}
        records.put(unit, UnitRecord(sums))


def test_each_arm_takes_its_best_recipe_by_validation_and_the_gain_is_between_them(
    tmp_path: Path,
) -> None:
    plan = a_plan(a_class("cat"), a_class("dog"), test_dir=Path("tests"))
    records = UnitRecords(tmp_path, {})
    validation = {
        (REAL, "usual"): 3,
        (REAL, "strong_paste"): 5,
        (REAL, "few_shot"): 4,
        (SYNTHETIC, "usual"): 8,
        (SYNTHETIC, "strong_paste"): 7,
        (SYNTHETIC, "few_shot"): 4,
    }
    for arm in ARMS:
        fill(records, plan.candidates(arm), validation)
    choices = {
        (contest.name, arm): choose_recipe(records, plan.candidates(arm), contest.recipes)
        for contest in plan.contests
        for arm in ARMS
    }
    best = plan.contests[0].name
    assert choices[best, REAL].recipe.name == "strong_paste"
    assert choices[best, SYNTHETIC].recipe.name == "usual"
    assert choices[best, REAL].ious == pytest.approx(
        {"usual": 0.3, "strong_paste": 0.5, "few_shot": 0.4}
    )
    tested = {key: value + 1 for key, value in validation.items()}
    needed = plan.needed(choices)
    assert {unit.samples for unit in needed if unit.arm == SYNTHETIC} == {2, 6}
    assert set(needed) <= set(plan.possible())
    fill(records, needed, tested)
    lines = compare(plan, records, choices, seed=0)
    assert [(line.contest, line.category) for line in lines] == [
        ("best of all", "cat"),
        ("best of all", "dog"),
        ("best of all", "mean"),
        ("network", "mean"),
        ("few-shot", "mean"),
    ]
    mean = lines[2]
    assert (mean.without, mean.with_samples) == pytest.approx((0.6, 0.9))
    assert mean.gain == pytest.approx(0.3) and mean.low == pytest.approx(0.3)
    assert (mean.real_recipe, mean.synthetic_recipe, mean.tests) == ("strong_paste", "usual", 8)
    assert lines[-1].gain == pytest.approx(0)
    curve = gain_curve(plan, records, choices)
    assert [point.samples for point in curve] == [0, 2, 6]
    assert curve[0].miou == pytest.approx(0.6) and len(curve[2].mious) == 2


def test_a_redrawn_test_counts_images_as_often_as_they_are_drawn() -> None:
    sums = np.array([[[[8, 10], [0, 10]]], [[[4, 10], [4, 10]]]])  # two draws of two images
    images, draws = np.array([[2, 0], [1, 1]]), np.array([[1, 1], [2, 0]])
    assert resampled_ious(sums, images, draws) == pytest.approx([(0.8 + 0.4) / 2, 0.4])


def test_leave_out_sums_are_in_the_order_of_the_real_pairs(tmp_path: Path) -> None:
    pairs = a_class(tests=0)
    plan, records = a_plan(pairs), UnitRecords(tmp_path, {})
    units = plan.finals(REAL, RECIPES["usual"])
    for unit in units:
        (tested,) = split_class(pairs, unit.draw, unit.fold, 5, False).tests
        records.put(unit, UnitRecord({TEST: np.array([[int(tested.name), 10]])}))
    assert arm_sums(plan, records, units, pairs)[:, 0, :, 0].tolist() == [[0, 1, 2, 3, 4]] * 2


def test_where_nothing_can_be_chosen_by_both_arms_take_what_won_before() -> None:
    plan = a_plan(a_class(real=1), test_dir=Path("tests"))
    assert not plan.chooses and plan.candidates(REAL) == []
    records = UnitRecords(Path(), {})
    assert choose_recipe(records, [], plan.recipes).recipe.name == USUAL_CHOICE
    assert choose_recipe(records, [], [RECIPES["few_shot"]]).recipe.name == "few_shot"
    usable = plan_gain([a_class()], GainConfig(Path()), NAMES, False, False, False).recipes
    assert [recipe.name for recipe in usable] == ["usual"]


def test_records_of_other_settings_do_not_count_and_broken_ones_are_told(tmp_path: Path) -> None:
    unit = GainUnit("cat", REAL, "usual", 0, 0)
    records = UnitRecords(tmp_path, {"steps": 3})
    records.put(unit, UnitRecord({TEST: np.array([[1, 2]])}, 1.5))
    known = UnitRecords(tmp_path, {"steps": 3}).get(unit)
    assert known is not None and known.sums[TEST].tolist() == [[1, 2]] and known.seconds == 1.5
    assert UnitRecords(tmp_path, {"steps": 4}).missing([unit]) == [unit]
    records.path(unit).write_text("[]")
    with pytest.raises(InputError, match="is no record of a training; remove it"):
        UnitRecords(tmp_path, {"steps": 3}).get(unit)


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(InputError, match="--choosing_draws 3: there are 2 --draws"):
        GainConfig(Path(), draws=2, choosing_draws=3)
    with pytest.raises(InputError, match="need bfloat16 or float32"):
        GainTraining(precision="float16")
