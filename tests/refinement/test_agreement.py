"""What a score trusts that an IoU does not, and what a record says of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.samples import read_sample
from aligndiff.dataset.support import SupportPair
from aligndiff.masks.company import Alone
from aligndiff.masks.edges.base import KeepEdges, KnownMap
from aligndiff.masks.rules import MaskRules
from aligndiff.refinement.config import RefinementConfig
from aligndiff.refinement.files import write_mask_and_record
from aligndiff.refinement.plan import plan_refinements
from aligndiff.refinement.refine import refine
from aligndiff.refinement.trust import TRUSTED, learn_trust
from aligndiff.refinement.verdicts import JudgedMap, Verdict, first_verdict
from tests.masks.made_masks import RED, bar, disc, picture
from tests.nearest_colour import NearestColour
from tests.synthesized_samples import add_synthesized_samples

CONFIG = RefinementConfig(refine_edges="none")
OBJECT = disc(25, 48)
OTHER = bar(48, 43)


def soft(mask: np.ndarray, inside: float = 0.9) -> np.ndarray:
    return np.where(mask, inside, 0.1).astype(np.float32)


def grey(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * np.uint8(255)


def test_a_sure_mask_passes_a_score_and_an_unsure_one_does_not() -> None:
    sure = first_verdict(0, JudgedMap(Alone(soft(OBJECT)), grey(OBJECT)), CONFIG, 0.8)
    assert (sure.outcome, sure.score) == ("consensus", 1.0)
    unsure = JudgedMap(Alone(soft(OBJECT, 0.6)), grey(OBJECT))
    assert first_verdict(0, unsure, CONFIG, 0.8).outcome == "uncertain"
    assert first_verdict(0, unsure, CONFIG).outcome == "consensus"  # the published rule


def test_company_in_the_heatmap_costs_no_score() -> None:
    elsewhere = np.zeros(OBJECT.shape, bool)
    elsewhere[:, 45:] = True
    both = grey(OBJECT | OTHER)
    judged = JudgedMap(Alone(soft(OBJECT), elsewhere), both)
    assert judged.score(OBJECT, CONFIG) == 1.0
    assert JudgedMap(Alone(soft(OBJECT)), both).score(OBJECT, CONFIG) < 0.8
    strange = JudgedMap(Alone(soft(OBJECT), elsewhere, strangeness=6.0), both)
    assert strange.score(OBJECT, CONFIG) == pytest.approx(np.exp(-1))


def test_the_threshold_is_a_part_of_the_supports_usual_score() -> None:
    rules = MaskRules(KeepEdges(), None, 0.5)
    maps = [
        KnownMap(picture((OBJECT, RED)), soft(OBJECT, p), grey(OBJECT)) for p in (0.9, 0.9, 0.6)
    ]
    assert learn_trust(maps, rules, 0.5) == pytest.approx(TRUSTED * 0.5)
    assert learn_trust([], rules, 0.5) is None


def outcomes(usual_iou: float | None, config: RefinementConfig) -> list[str]:
    """Of an object beside another thing that heatmap and segmenter take for it, too."""
    pairs = [(disc(30, 40, 14), 3), (disc(60, 50, 18), 4), (disc(48, 30, 16), 5)]
    support = [
        SupportPair("real", picture((mask, RED), seed=seed), mask.astype(np.uint8))
        for mask, seed in pairs
    ]
    image = picture((OBJECT, RED), (OTHER, RED))
    query = [replace_query(image, grey(OBJECT | OTHER))]
    verdicts = refine(NearestColour(20), support, query, config, 10**9, (), usual_iou)
    last = list(verdicts)[-1]
    assert last.mask is not None
    assert last.mask[OTHER].any() == (config.regions == "all")
    return [last.outcome]


def replace_query(image: np.ndarray, heatmap: np.ndarray):
    from aligndiff.refinement.files import Query

    return Query(0, lambda: image, lambda: heatmap)


def test_with_heatmaps_of_the_support_a_score_decides() -> None:
    assert outcomes(1.0, CONFIG) == ["consensus"]
    assert outcomes(None, CONFIG) == ["pseudo_label"]  # the heatmap knows more than the object
    assert outcomes(1.0, replace(CONFIG, agreement="method")) == ["pseudo_label"]
    assert outcomes(None, replace(CONFIG, regions="all")) == ["consensus"]


def test_a_record_says_how_sure_a_mask_is_and_what_is_odd(dataset_dir) -> None:
    from aligndiff.dataset.prompt_bank import load_prompt_bank

    add_synthesized_samples(dataset_dir, 1)
    plan, *_ = plan_refinements(load_prompt_bank(dataset_dir), CONFIG, "x", "auto")
    sample = plan.samples[0]
    undecided = disc(70, 70, 5)
    verdict = Verdict(
        sample.index,
        "consensus",
        OBJECT,
        0.9,
        score=0.75,
        ailments=("holes",),
        undecided=undecided,
    )
    write_mask_and_record(plan, sample, verdict)
    stored = read_sample(plan.place, sample.index)
    assert (stored.record.score, stored.record.ailments) == (0.75, ("holes",))
    labels = stored.read_labels()
    assert np.array_equal(labels == 255, undecided) and np.array_equal(labels == 1, OBJECT)
    assert np.array_equal(stored.read_mask(), OBJECT)  # who knows of no such pixels: background
    written = json.loads(plan.place.record_path(sample.index).read_text())
    assert written["ailments"] == ["holes"]


def test_weights_of_edges_are_of_sam_only() -> None:
    with pytest.raises(InputError, match="--refine_edges guided has no weights"):
        RefinementConfig(edge_model="x")
