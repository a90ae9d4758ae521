"""Algorithm 1 with a segmenter of another kind than SSP: no network, no prototypes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aligndiff.dataset.images import read_grey
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.support import SupportPair
from aligndiff.refinement.config import RefinementConfig
from aligndiff.refinement.files import Query, clear_masks
from aligndiff.refinement.plan import count_outcomes, plan_refinements
from aligndiff.refinement.refine import refine, refine_entry
from tests.nearest_colour import NearestColour
from tests.synthesized_samples import add_synthesized_samples

CONFIG = RefinementConfig(batch_size=2, refine_edges="none", regions="all", agreement="method")
SIZE = (8, 10)
OBJECT = np.zeros(SIZE, bool)
OBJECT[2:6, 1:6] = True
REACH = 20  # grey levels
ALL = 10**9  # bytes


def picture(red: int) -> np.ndarray:
    """An object of that red on black."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[OBJECT, 0] = red
    return image


def query(index: int, red: int) -> Query:
    return Query(index, lambda: picture(red), lambda: OBJECT * np.uint8(255))


def outcomes(reds: list[int], config: RefinementConfig = CONFIG) -> dict[int, str]:
    """What becomes of objects of these reds, where the real pair's is 200."""
    real = [SupportPair("real", picture(200), OBJECT.astype(np.uint8))]
    queries = [query(index, red) for index, red in enumerate(reds)]
    verdicts = list(refine(NearestColour(REACH), real, queries, config, ALL))
    for verdict in verdicts:
        if verdict.outcome in ("consensus", "pseudo_label"):
            assert np.array_equal(verdict.mask, OBJECT)
    return {verdict.index: verdict.outcome for verdict in verdicts}


def test_what_the_first_pass_trusts_finds_more_in_the_second() -> None:
    """Red 90 is nearer to black than to 200; nearer to 140, which is trusted, than to black."""
    assert outcomes([90, 140]) == {0: "pseudo_label", 1: "consensus"}
    assert outcomes([90]) == {0: "rejected"}


def test_the_weight_of_the_real_pairs_is_theirs() -> None:
    heavy = replace(CONFIG, support_weight=0.99)
    assert outcomes([90, 140], heavy) == {0: "rejected", 1: "consensus"}


@pytest.mark.parametrize(("images", "encoded"), [(0, 1 + 4 + 3), (1, 1 + 4 + 2), (3, 1 + 4)])
def test_its_own_measure_decides_how_many_images_are_kept(images: int, encoded: int) -> None:
    segmenter, memory = NearestColour(REACH), images * picture(0).nbytes
    real = [SupportPair("real", picture(200), OBJECT.astype(np.uint8))]
    queries = [query(index, red) for index, red in enumerate((90, 85, 95, 140))]
    verdicts = {v.index: v for v in refine(segmenter, real, queries, CONFIG, memory)}
    assert segmenter.encoded == encoded
    assert [verdicts[i].outcome for i in range(4)] == ["pseudo_label"] * 3 + ["consensus"]


def test_ignored_pixels_are_support_of_nothing() -> None:
    mask = OBJECT.astype(np.uint8)
    mask[0] = 255
    image = picture(200)
    image[0] = (0, 200, 0)
    segmenter = NearestColour(REACH)
    (seen,) = segmenter.encode([image])
    pair = segmenter.describe(seen, mask)
    assert pair.colours(1).tolist() == [[200, 0, 0]] and pair.colours(0).tolist() == [[0, 0, 0]]


def test_masks_on_disk_from_the_real_pairs_of_a_dataset(dataset_dir) -> None:
    bank = load_prompt_bank(dataset_dir)
    truths = add_synthesized_samples(dataset_dir, 3)
    plans = plan_refinements(bank, CONFIG, "nearest reach.json 1a", "auto")
    for plan in plans:
        clear_masks(plan)
        assert refine_entry(plan, NearestColour(REACH), CONFIG, 0, lambda *_, **__: None) == 0
        for sample in plan.samples:
            mask = read_grey(plan.place.mask_path(sample.index)) > 0
            assert (mask != truths[plan.entry.id][sample.index]).mean() < 0.02  # of JPEG
    *_, everything = count_outcomes(plans)
    assert (everything.consensus, everything.failed) == (9, 0)
