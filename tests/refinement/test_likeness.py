"""Likeness in step 3: what it says of samples, and what is rejected by it."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import SampleRecord
from aligndiff.dataset.samples import read_sample
from aligndiff.dataset.support import SupportPair
from aligndiff.refinement.config import RefinementConfig
from aligndiff.refinement.files import Query, write_rejection
from aligndiff.refinement.plan import plan_refinements
from aligndiff.refinement.refine import refine
from aligndiff.refinement.verdicts import Verdict
from tests.masks.made_masks import GROUND, RED, bar, disc
from tests.nearest_colour import NearestColour
from tests.synthesized_samples import add_synthesized_samples

CONFIG = RefinementConfig(refine_edges="none", regions="all", agreement="method")
WINE = (150, 40, 80)  # nearer to the object's red than to the ground, and not it
PLACE = disc(48, 48, 20)


def flat(mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A plain object on plain ground, uint8 (h, w, 3): two colours are soon compared."""
    image = np.full((*mask.shape, 3), GROUND, np.uint8)
    image[mask] = colour
    return image


@functools.cache
def verdicts(least: float) -> dict[int, Verdict]:
    """Of a red disc and one of another red: the last one on each."""
    masks = [disc(30, 40, 14), disc(60, 50, 18), disc(48, 30, 16)]
    support = [SupportPair("real", flat(mask, RED), mask.astype(np.uint8)) for mask in masks]
    queries = [
        Query(
            index,
            lambda colour=colour: flat(PLACE, colour),
            lambda: PLACE * np.uint8(255),
        )
        for index, colour in enumerate((RED, WINE))
    ]
    config = replace(CONFIG, min_likeness=least)
    return {v.index: v for v in refine(NearestColour(40), support, queries, config, 10**9)}


def test_a_verdict_says_how_like_the_support_the_object_is() -> None:
    red, wine = verdicts(0).values()
    assert red.mask is not None and wine.mask is not None
    assert 0 < wine.likeness < 0.3 < red.likeness <= 1


def test_below_the_least_likeness_a_sample_is_rejected_and_told_why() -> None:
    red, wine = verdicts(0.3).values()
    assert red.outcome == "consensus"
    assert (wine.outcome, wine.mask) == ("rejected", None)
    assert wine.reason == f"unlike the support (likeness {wine.likeness:.2f}, below 0.3)"
    assert wine.iou is not None and wine.likeness == verdicts(0)[1].likeness


def test_records_have_it_and_those_from_before_it_are_read(dataset_dir) -> None:
    bank = load_prompt_bank(dataset_dir)
    add_synthesized_samples(dataset_dir, 1)
    config = replace(CONFIG, min_likeness=0.3)
    plan, *_ = plan_refinements(bank, config, "x", "auto")
    assert plan.settings["min_likeness"] == 0.3
    _, wine = verdicts(0.3).values()
    write_rejection(plan, plan.samples[0], wine)
    record = read_sample(plan.place, 0).record
    assert record.status == "rejected" and "unlike the support" in record.rejected_because
    assert record.likeness == wine.likeness and not plan.place.mask_path(0).exists()
    old = record.to_json()
    del old["likeness"]
    assert SampleRecord.from_json(old).likeness is None
    assert "min_likeness" not in CONFIG.settings  # masks from before there was a choice stay


@pytest.mark.parametrize("mask", [bar(10, 10), disc(50, 50)])
def test_the_features_of_an_object_are_those_of_its_cells(mask: np.ndarray) -> None:
    import torch

    from aligndiff.segmenters.object_features import cells_within, object_looks

    maps = torch.zeros(2, 12, 12)
    maps[0] = torch.arange(144).reshape(12, 12)
    covered = cells_within(maps, mask)[:, 0].long()
    shares = mask.reshape(12, 8, 12, 8).mean((1, 3)).ravel()
    assert sorted(covered.tolist()) == np.flatnonzero(shares >= min(0.7, shares.max())).tolist()
    assert len(cells_within(maps, bar(3, 3, 2, 2))) == 1
    looks = object_looks(NearestColour(1), flat(mask, RED), None, mask)
    assert looks.features is None  # it tells none
