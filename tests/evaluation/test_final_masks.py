"""Scored masks with the rules of step 3: company goes, edges get sharp, the rest stays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from aligndiff.core.errors import MissingWeightsError
from aligndiff.dataset.images import read_labels, write_grey, write_image
from aligndiff.dataset.support import find_pairs
from aligndiff.evaluation.episodes import Episode, FewShotTest, Item
from aligndiff.evaluation.evaluate import evaluate_episodes
from aligndiff.evaluation.final_masks import OWN_MASKS, FinalMasks, checked_masks, open_masks
from aligndiff.evaluation.support_gain import GainTask, measure_class
from aligndiff.masks.options import MaskOptions
from tests.evaluation.test_evaluation import RedSegmenter, still
from tests.evaluation.test_support_gain import Sample

SIDE = 64
COMPANY = FinalMasks(MaskOptions(refine_edges="none"))


def scene(centre: int, radius: int, bar: bool) -> tuple[np.ndarray, np.ndarray]:
    """A red disc, on request above a bar of the same red: uint8 (h, w, 3) and the disc's mask."""
    mask = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (centre, 20), radius, 1, -1)
    image = np.full((SIDE, SIDE, 3), 60, np.uint8)
    image[mask > 0] = (200, 30, 30)
    if bar:
        image[48:54, 4:60] = (200, 30, 30)
    return image, mask


def draw_pairs(folder: Path, scenes: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    folder.mkdir(parents=True)
    for number, (image, mask) in enumerate(scenes):
        exact = folder / f"{number}i.png"  # a JPEG would blur the reds
        write_image(exact, image)
        exact.rename(folder / f"{number}.webp")
        write_grey(folder / f"{number}.png", mask)
    return folder


def of_discs(folder: Path) -> tuple[FewShotTest, list[Episode]]:
    """Each of two discs above a bar, segmented by two discs alone."""
    scenes = [scene(25, 10, True), scene(44, 9, True), scene(20, 9, False), scene(40, 11, False)]
    items = [Item(p.image, p.mask, 1) for p in find_pairs(draw_pairs(folder, scenes))]
    test = FewShotTest("toy", {"disc": tuple(items)}, lambda item: read_labels(item.mask))
    return test, [Episode("disc", query, tuple(items[2:])) for query in items[:2]]


def test_of_a_benchmarks_masks_only_the_objects_like_the_support_stay(tmp_path: Path) -> None:
    test, episodes = of_discs(tmp_path / "discs")
    own, shown = evaluate_episodes(RedSegmenter(), test, episodes, 0, 3, still)
    alone, without = evaluate_episodes(RedSegmenter(), test, episodes, 0, 3, still, COMPANY)
    assert all(answer.predicted[48:54, 4:60].all() for answer in shown)
    assert not any(answer.predicted[48:54].any() for answer in without)
    assert own.scores.miou < 0.6 and alone.scores.miou == 1
    # One pair tells nothing of how objects differ.
    single = [Episode("disc", one.query, one.support[:1]) for one in episodes]
    lone, _ = evaluate_episodes(RedSegmenter(), test, single, 0, 3, still, COMPANY)
    assert lone.scores.miou == own.scores.miou


def test_edges_are_chosen_by_the_pairs_of_each_episode(tmp_path: Path) -> None:
    """A blurred answer gets the image's edges again."""

    class Blurred(RedSegmenter):
        def segment(self, encoded):
            return cv2.blur(super().segment(encoded), (11, 11))

    test, episodes = of_discs(tmp_path / "discs")
    scores = [
        evaluate_episodes(Blurred(), test, episodes, 0, 3, still, masks)[0].scores.miou
        for masks in (COMPANY, open_masks(MaskOptions(), "cpu"))
    ]
    assert scores[1] > scores[0] + 0.02 and scores[1] > 0.95


def test_the_rules_of_synthetic_support_are_those_of_the_real_pairs(tmp_path: Path) -> None:
    real = find_pairs(draw_pairs(tmp_path / "real", [scene(20, 9, False), scene(40, 11, False)]))
    tests = find_pairs(draw_pairs(tmp_path / "test", [scene(25, 10, True), scene(44, 9, True)]))
    task = GainTask("disc", tuple(real), (Sample(200), Sample(200)), tuple(tests), side=SIDE)
    draws = {0: [()], 2: [(0, 1)]}
    results = {}
    for name, masks in (("own", OWN_MASKS), ("alone", COMPANY)):
        results[name] = measure_class(RedSegmenter(), task, draws, 0.5, 2, still, masks)
    for sums in (results["alone"].none, results["alone"].all):
        assert (sums[:, 2] == sums[:, 3]).all()  # intersection and union of the object
    assert (results["own"].all[:, 3] > results["own"].all[:, 2] + 300).all()


def test_weights_that_lack_are_told_before_anything_is_loaded() -> None:
    with pytest.raises(MissingWeightsError, match="--refine_edges sam: name its weights"):
        checked_masks(MaskOptions(refine_edges="sam"))
