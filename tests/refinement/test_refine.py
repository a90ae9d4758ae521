"""Algorithm 1 with a toy segmenter whose answers are known, and what it leaves on disk."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import read_grey, write_grey, write_image, write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, FailureRecord, SampleRecord
from aligndiff.dataset.support import SupportPair, load_support, reduce_pair
from aligndiff.masks.company import Alone
from aligndiff.refinement.config import RefinementConfig
from aligndiff.refinement.files import Query, clear_masks
from aligndiff.refinement.plan import check_settings, count_outcomes, plan_refinements
from aligndiff.refinement.refine import refine, refine_entry
from aligndiff.refinement.verdicts import (
    JudgedMap,
    Verdict,
    first_verdict,
    intersection_over_union,
    second_verdict,
)
from aligndiff.segmenters.base import support_weights
from aligndiff.segmenters.ssp.checkpoint import load_ssp
from aligndiff.segmenters.ssp.segmenter import SSPSegmenter

ROOT = Path(__file__).resolve().parents[2]
METHOD = {"refine_edges": "none", "regions": "all", "agreement": "method"}  # as published
CONFIG = RefinementConfig(**METHOD)
TOY = "toy.safetensors 1a"  # what the records say of the segmenter
ALL = 10**9  # bytes: keep the features of every query
SIZE = (8, 10)
OBJECT = np.zeros(SIZE, bool)
OBJECT[2:6, 1:6] = True  # 20 cells
NOTHING = np.zeros(SIZE, bool)
ELSEWHERE = np.roll(OBJECT, 4, axis=1)


def judged(probability, heatmap):
    return JudgedMap(Alone(probability), heatmap)


@dataclass(frozen=True)
class Seen:
    """What ToySegmenter keeps of an image: all of it, uint8 (h, w, 3)."""

    image: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.image.nbytes


class ToySegmenter:
    """Reads its answers off the image: red with the support alone, green with trusted pairs too."""

    def __init__(self):
        self.supports, self.encoded = [], 0

    def encode(self, images):
        self.encoded += len(images)
        return [Seen(image) for image in images]

    def describe(self, encoded, mask):
        return encoded.image, mask.copy()

    def set_support(self, support, weights=None):
        self.supports.append((list(support), weights))

    def segment(self, encoded):
        channel = len(self.supports) - 1
        return (encoded.image[..., channel] / 255).astype(np.float32)


def picture(first, second) -> np.ndarray:
    """An image that ToySegmenter answers with `first`, then `second`; blue keeps it from black."""
    return np.stack([first * 255, second * 255, np.full(SIZE, 90)], axis=-1).astype(np.uint8)


def query(index, first, second, heatmap) -> Query:
    image = picture(first, second)
    return Query(index, lambda: image, lambda: (heatmap * 255).astype(np.uint8))


def support(count=2):
    image = np.full((*SIZE, 3), 50, np.uint8)
    return [SupportPair(str(i), image, OBJECT.astype(np.uint8)) for i in range(count)]


def refine_toy(queries, config=CONFIG, segmenter=None, feature_memory=ALL):
    return refine(segmenter or ToySegmenter(), support(), queries, config, feature_memory)


def last_verdicts(verdicts) -> dict[int, Verdict]:
    return {verdict.index: verdict for verdict in verdicts}


def test_the_thresholds_are_those_of_the_method():
    assert CONFIG.settings == {
        "consensus_iou_threshold": 0.8,
        "foreground_threshold": 0.4,
        "heatmap_threshold": 0.4,
        "pseudo_label_threshold": 0.5,
        "support_weight": 0.5,
    }


def test_consensus_samples_join_the_support_and_the_others_are_segmented_again():
    segmenter = ToySegmenter()
    queries = [
        query(0, OBJECT, NOTHING, OBJECT),
        query(1, NOTHING, ELSEWHERE, OBJECT),
        query(2, ELSEWHERE, OBJECT, OBJECT),
        query(3, OBJECT, NOTHING, OBJECT),
    ]
    verdicts = last_verdicts(refine_toy(queries, segmenter=segmenter))
    assert [verdicts[i].outcome for i in range(4)] == [
        *("consensus", "pseudo_label", "pseudo_label", "consensus")
    ]
    assert [verdicts[i].iou for i in range(4)] == [1.0, 0.0, 4 / 36, 1.0]
    for index, mask in enumerate((OBJECT, ELSEWHERE, OBJECT, OBJECT)):
        assert np.array_equal(verdicts[index].mask, mask)

    (real, no_weights), (both, weights) = segmenter.supports
    pictures = [pair.image for pair in support(2)] + [picture(OBJECT, NOTHING)] * 2
    assert len(real) == 2 and no_weights is None
    for (image, mask), wanted in zip(both, pictures, strict=True):
        assert np.array_equal(image, wanted) and np.array_equal(mask, OBJECT)
    assert weights == [0.25, 0.25, 0.25, 0.25]


def test_real_pairs_keep_half_of_the_weight():
    weights = support_weights(3, 100, CONFIG.support_weight)
    assert sum(weights[:3]) == pytest.approx(0.5) and sum(weights[3:]) == pytest.approx(0.5)
    weights = support_weights(1, 1, support_weight=0.8)
    assert weights == pytest.approx([0.8, 0.2])


def test_without_consensus_the_second_pass_knows_the_support_alone():
    segmenter = ToySegmenter()
    verdicts = list(refine_toy([query(0, ELSEWHERE, NOTHING, OBJECT)], segmenter=segmenter))
    assert len(segmenter.supports) == 1
    assert [verdict.outcome for verdict in verdicts] == ["uncertain", "pseudo_label"]
    assert np.array_equal(verdicts[1].mask, ELSEWHERE)


def test_full_consensus_needs_no_second_pass():
    segmenter = ToySegmenter()
    verdicts = list(refine_toy([query(0, OBJECT, NOTHING, OBJECT)], segmenter=segmenter))
    assert len(segmenter.supports) == 1 and [v.outcome for v in verdicts] == ["consensus"]


def test_hopeless_samples_are_rejected_with_their_reason():
    black = np.zeros((*SIZE, 3), np.uint8)
    black[0, 0] = 5  # what JPEG may leave
    queries = [
        query(0, NOTHING, OBJECT, NOTHING),
        Query(1, lambda: black, lambda: (OBJECT * 255).astype(np.uint8)),
        query(2, ELSEWHERE, NOTHING, OBJECT),
        query(3, OBJECT, NOTHING, OBJECT),
    ]
    verdicts = last_verdicts(refine_toy(queries))
    told = [(verdicts[i].outcome, verdicts[i].reason, verdicts[i].mask) for i in range(3)]
    assert told == [
        ("rejected", "no object in either mask", None),
        ("rejected", "the image is black", None),
        ("rejected", "no object in the second pass", None),
    ]
    assert [verdicts[i].iou for i in range(3)] == [0.0, None, 4 / 36]


def test_one_empty_mask_is_not_hopeless():
    queries = [query(0, NOTHING, OBJECT, OBJECT), query(1, OBJECT, OBJECT, NOTHING)]
    outcomes = [v.outcome for v in refine_toy(queries)]
    assert outcomes[:2] == ["uncertain", "uncertain"]


@pytest.mark.parametrize(("threshold", "outcome"), [(0.8, "uncertain"), (0.79, "consensus")])
def test_the_consensus_threshold_is_strict(threshold, outcome):
    heatmap = np.zeros(SIZE, np.uint8)
    heatmap[2:6, 1:5] = 255  # 16 of the mask's 20 cells: IoU 0.8 exactly
    config = RefinementConfig(consensus_iou_threshold=threshold)
    verdict = first_verdict(0, judged(OBJECT.astype(np.float32), heatmap), config)
    assert verdict.iou == 0.8 and verdict.outcome == outcome


def test_the_probability_thresholds_are_strict():
    probability = np.array([[0.4, 0.41, 0.5, 0.51]], np.float32)
    heatmap = np.array([[102, 103, 103, 103]], np.uint8)
    first = first_verdict(0, judged(probability, heatmap), CONFIG)
    assert first.mask.tolist() == [[False, True, True, True]] and first.iou == 1.0
    second = second_verdict(0, judged(probability, heatmap), 0.5, CONFIG)
    assert second.mask.tolist() == [[False, False, False, True]]


def test_iou_by_hand_and_of_two_empty_masks():
    assert intersection_over_union(OBJECT, OBJECT) == 1.0
    assert intersection_over_union(OBJECT, NOTHING) == 0.0
    assert intersection_over_union(OBJECT, ELSEWHERE) == 4 / 36
    assert intersection_over_union(NOTHING, NOTHING) == 0.0


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_the_batch_size_changes_nothing(batch_size):
    queries = [query(i, *((OBJECT, ELSEWHERE)[:: (-1) ** i]), OBJECT) for i in range(5)]
    config = replace(CONFIG, batch_size=batch_size)
    verdicts = last_verdicts(refine_toy(queries, config))
    assert [verdicts[i].outcome for i in range(5)] == ["consensus", "pseudo_label"] * 2 + [
        "consensus"
    ]


# Bytes of features that may be kept (none, those of two queries, all), and how many images the
# segmenter then encodes: the support, the nine queries, the uncertain ones that were not kept.
@pytest.mark.parametrize(
    ("memory", "encoded"), [(0, 2 + 9 + 5), (2 * 240, 2 + 9 + 3), (ALL, 2 + 9)]
)
def test_what_is_kept_is_not_encoded_again_and_nothing_else_changes(memory, encoded):
    queries = [query(i, (ELSEWHERE, OBJECT)[i % 2], OBJECT, OBJECT) for i in range(9)]
    segmenter, wanted = ToySegmenter(), list(refine_toy(queries, feature_memory=ALL))
    config = replace(CONFIG, batch_size=2)
    verdicts = list(refine(segmenter, support(), queries, config, memory))
    assert segmenter.encoded == encoded
    told = [[(v.index, v.outcome, v.iou) for v in found] for found in (verdicts, wanted)]
    assert told[0] == told[1] and len(verdicts) == 9 + 5
    for verdict, other in zip(verdicts, wanted, strict=True):
        assert np.array_equal(verdict.mask, other.mask)


def test_the_memory_for_features_does_not_change_the_masks_of_a_real_network():
    """Trained weights, images of the example object as queries, half of them with a false heatmap.

    Features that are computed again come from another batch: the masks are compared bit for bit.
    """
    pairs = load_support(ROOT / "example_dataset" / "fish")
    checkpoint = ROOT / "pretrained_weights" / "tiny_ssp.safetensors"

    def heatmap(i):
        true = (pairs[i].mask == 1).astype(np.uint8) * 255
        return true if i % 2 else true[::-1].copy()

    queries = [
        Query(i, lambda i=i: pairs[i].image, lambda i=i: heatmap(i)) for i in range(len(pairs))
    ]
    config = replace(CONFIG, batch_size=2, consensus_iou_threshold=0.5)
    answers, loaded = [], load_ssp(checkpoint)
    for memory in (0, ALL):
        segmenter = SSPSegmenter(loaded.network, loaded.input_side, batch_size=config.batch_size)
        answers.append(last_verdicts(refine(segmenter, pairs[:2], queries, config, memory)))
    outcomes = {verdict.outcome for verdict in answers[0].values()}
    assert outcomes == {"consensus", "pseudo_label"}
    for index, verdict in answers[0].items():
        other = answers[1][index]
        assert (verdict.outcome, verdict.iou) == (other.outcome, other.iou)
        assert verdict.mask.any() and np.array_equal(verdict.mask, other.mask)


def test_an_unreadable_sample_fails_alone_in_either_pass():
    def readings():
        yield picture(ELSEWHERE, OBJECT)
        raise InputError("b.jpg: gone")

    images = readings()

    def broken():
        raise InputError("a.jpg: not a readable image")

    heat = (OBJECT * 255).astype(np.uint8)
    queries = [
        Query(0, broken, lambda: heat),
        Query(1, lambda: next(images), lambda: heat),
        Query(2, lambda: picture(OBJECT, OBJECT), lambda: heat[:4]),
        query(3, OBJECT, OBJECT, OBJECT),
    ]
    verdicts = last_verdicts(refine_toy(queries, feature_memory=0))
    assert [verdicts[i].outcome for i in range(4)] == ["failed", "failed", "failed", "consensus"]
    assert [verdicts[i].reason for i in range(3)] == [
        "a.jpg: not a readable image",
        "b.jpg: gone",
        "the image is (8, 10), its heatmap (4, 10) (h, w)",
    ]


class Crowded(ToySegmenter):
    """Has memory for one image at once, and for none at all when it is as blue as `too_much`."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks  # how often such an image fits before it does not any more

    def encode(self, images):
        if len(images) > 1 or (images[0][..., 2] == 91).all():
            self.looks -= len(images) == 1
            if len(images) > 1 or self.looks < 0:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().encode(images)


def too_much(index) -> Query:
    image = picture(ELSEWHERE, OBJECT)
    image[..., 2] = 91
    return Query(index, lambda: image, lambda: (OBJECT * 255).astype(np.uint8))


@pytest.mark.parametrize("looks", [0, 1])
def test_an_image_that_is_too_much_for_the_memory_fails_alone_in_either_pass(looks):
    queries = [query(0, OBJECT, NOTHING, OBJECT), too_much(1), query(2, ELSEWHERE, OBJECT, OBJECT)]
    segmenter, config = Crowded(looks), replace(CONFIG, batch_size=3)
    support = [SupportPair("1", picture(OBJECT, OBJECT), OBJECT.astype(np.uint8))]
    verdicts = last_verdicts(refine(segmenter, support, queries, config, feature_memory=0))
    assert [verdicts[i].outcome for i in range(3)] == ["consensus", "failed", "pseudo_label"]
    assert verdicts[1].reason == "out of memory with this image alone"


def test_a_head_that_finds_no_memory_fails_its_image():
    class Headless(ToySegmenter):
        def segment(self, encoded):
            if (encoded.image[..., 2] == 91).all():
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return super().segment(encoded)

    queries = [too_much(0), query(1, OBJECT, NOTHING, OBJECT)]
    verdicts = last_verdicts(refine_toy(queries, segmenter=Headless()))
    assert [verdicts[i].outcome for i in range(2)] == ["failed", "consensus"]


@pytest.mark.parametrize("looks", [1, 2])
def test_nan_is_a_failure_and_not_an_image_without_an_object(looks):
    """NaN is above no threshold: an image that a network cannot count was rejected as empty."""

    class Overflowing(ToySegmenter):
        def segment(self, encoded):
            probability = super().segment(encoded)
            broken = (encoded.image[..., 2] == 91).all() and len(self.supports) == looks
            return np.full_like(probability, np.nan) if broken else probability

    image = picture(ELSEWHERE, OBJECT)
    image[..., 2] = 91
    heatmap = (OBJECT * 255).astype(np.uint8)
    queries = [query(0, OBJECT, NOTHING, OBJECT), Query(1, lambda: image, lambda: heatmap)]
    verdicts = last_verdicts(refine_toy(queries, segmenter=Overflowing()))
    assert [verdicts[i].outcome for i in range(2)] == ["consensus", "failed"]
    assert verdicts[1].reason == "the segmenter gave NaN (try --precision float32)"


def test_no_more_than_a_few_batches_of_images_are_held():
    alive = most = 0

    class Tracked(np.ndarray):
        pass

    def gone():
        nonlocal alive
        alive -= 1

    def read(first):
        nonlocal alive, most
        image = picture(first, OBJECT).view(Tracked)
        alive += 1
        most = max(most, alive)
        weakref.finalize(image, gone)
        return image

    class Forgetful(ToySegmenter):
        def encode(self, images):
            return super().encode([np.array(image) for image in images])

    queries = [
        Query(i, lambda i=i: read((OBJECT, ELSEWHERE)[i % 2]), lambda: (OBJECT * 255).astype("u1"))
        for i in range(40)
    ]
    segmenter = Forgetful()
    list(refine(segmenter, support(), queries, replace(CONFIG, batch_size=4), 0))
    assert [len(known) for known, _ in segmenter.supports] == [2, 22]
    assert most <= 3 * 4 + 1, "a batch, the next one, what is read ahead"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"consensus_iou_threshold": 1.5}, "--consensus_iou_threshold: must be 0 to 1, is 1.5"),
        ({"heatmap_threshold": -0.1}, "--heatmap_threshold: must be 0 to 1, is -0.1"),
        ({"foreground_threshold": float("nan")}, "--foreground_threshold: must be 0 to 1, is nan"),
        ({"support_weight": 1.0}, "--support_weight: must be above 0, below 1, is 1"),
        ({"batch_size": 0}, "--batch_size: must be 1 to 1024, is 0"),
    ],
)
def test_config_checks(wrong, said):
    with pytest.raises(InputError) as error:
        RefinementConfig(**wrong)
    assert error.value.problems == (said,)


# Support


def test_a_large_support_pair_is_reduced_to_the_images_size():
    mask = np.zeros((300, 200), np.uint8)
    mask[100:200, 50:100], mask[:10] = 1, 255
    pair = SupportPair("large", np.zeros((300, 200, 3), np.uint8), mask)
    small = reduce_pair(pair, 60)
    assert small.image.shape == (60, 40, 3) and small.mask.shape == (60, 40)
    assert set(np.unique(small.mask)) == {0, 1, 255}
    assert reduce_pair(pair, 300) is pair


def test_a_support_object_that_would_vanish_keeps_its_size():
    mask = np.zeros((300, 200), np.uint8)
    mask[1, 1] = 1
    pair = SupportPair("speck", np.zeros((300, 200, 3), np.uint8), mask)
    assert reduce_pair(pair, 30) is pair


# On disk


@pytest.fixture
def bank(dataset_dir):
    return load_prompt_bank(dataset_dir, ["albatross"])


def add_sample(bank, index, first, second, heatmap, made_with="step 2"):
    """What step 2 leaves of one sample of the bank's first entry."""
    entry = bank.entries[0]
    place = EntryFolder(bank.root, entry)
    record = EntryRecord(entry.id, entry.type, entry.category, "", "", "toy", {}, "step 2")
    place.make()
    record.write(place.entry_json)
    write_image(place.image_path(index, "png"), picture(first, second))
    write_grey(place.heatmap_path(index), (heatmap * 255).astype(np.uint8))
    SampleRecord(index, 7, "synthesized", "png", made_with).write(place.record_path(index))
    return place


def add_samples(bank):
    add_sample(bank, 0, OBJECT, NOTHING, OBJECT)
    add_sample(bank, 1, ELSEWHERE, OBJECT, OBJECT)
    return add_sample(bank, 2, NOTHING, NOTHING, NOTHING)


def run(bank, config=CONFIG, precision="auto"):
    """Plan and refine; returns the plan and how far the progress bar moved."""
    (plan,) = plan_refinements(bank, config, TOY, precision)
    moves = []
    clear_masks(plan)
    advance = lambda count=1, category="", *, status="": moves.append(count)  # noqa: E731
    refine_entry(plan, ToySegmenter(), config, ALL, advance)
    return plan, sum(moves)


def records(place):
    return [SampleRecord.read(place.record_path(index)) for index in place.indices()]


def test_masks_and_records_on_disk(bank):
    place = add_samples(bank)
    write_mask(place.mask_path(2), OBJECT)  # stale: the sample is rejected now
    plan, moved = run(bank)
    first, second, third = records(place)
    assert (first.status, first.mask_source, first.iou) == ("refined", "consensus", 1.0)
    assert (second.status, second.mask_source) == ("refined", "pseudo_label")
    assert second.iou == pytest.approx(4 / 36)
    assert (third.status, third.mask_source) == ("rejected", None)
    assert third.rejected_because == "no object in either mask"
    assert {record.refinement for record in (first, second, third)} == {plan.fingerprint}
    assert first.seed == 7 and first.fingerprint == "step 2"
    for index in (0, 1):
        assert np.array_equal(read_grey(place.mask_path(index)), OBJECT * np.uint8(255))
    assert not place.mask_path(2).exists()
    assert moved == 6, "two steps of the bar for each sample, however often it was looked at"

    (row,) = count_outcomes([plan])
    assert (row.consensus, row.pseudo_label, row.rejected, row.failed) == (1, 1, 1, 0)
    assert row.mean_iou == pytest.approx((1 + 4 / 36 + 0) / 3)


def test_a_finished_entry_is_done_until_samples_are_added(bank):
    add_samples(bank)
    run(bank)
    (plan,) = plan_refinements(bank, CONFIG, TOY, "auto")
    assert plan.is_done
    check_settings([plan])
    place = add_sample(bank, 3, ELSEWHERE, ELSEWHERE, OBJECT)
    (plan,) = plan_refinements(bank, CONFIG, TOY, "auto")
    assert not plan.is_done
    check_settings([plan])
    run(bank)
    assert [record.status for record in records(place)] == [
        *("refined", "refined", "rejected", "refined")
    ]


def test_other_settings_ask_for_overwrite(bank):
    place = add_samples(bank)
    run(bank)
    other = RefinementConfig(consensus_iou_threshold=0.6, **METHOD)
    with pytest.raises(InputError, match=r"consensus_iou_threshold was 0\.8, now 0\.6\); .*--over"):
        check_settings(plan_refinements(bank, other, TOY, "auto"))
    trained = plan_refinements(bank, CONFIG, "toy.safetensors 9f", "auto")
    with pytest.raises(InputError, match=r"checkpoint was toy\.safetensors 1a, now toy\.saf.* 9f"):
        check_settings(trained)
    image = next((bank.root / "albatross").glob("1.jpg"))
    image.write_bytes(image.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"\(the support pairs changed\)"):
        check_settings(plan_refinements(bank, CONFIG, TOY, "auto"))
    (place.folder / "refinement.json").unlink()
    with pytest.raises(InputError, match=r"there is no refinement\.json to tell which"):
        check_settings(plan_refinements(bank, CONFIG, TOY, "auto"))
    run(bank)
    check_settings(plan_refinements(bank, CONFIG, TOY, "auto"))


def test_the_batch_size_is_no_setting(bank):
    add_samples(bank)
    run(bank)
    plans = plan_refinements(bank, RefinementConfig(batch_size=1, **METHOD), TOY, "auto")
    check_settings(plans)
    assert plans[0].is_done


def test_beginning_again_forgets_masks_and_verdicts(bank):
    place = add_samples(bank)
    run(bank)
    (plan,) = plan_refinements(bank, CONFIG, TOY, "auto")
    clear_masks(plan)
    for index, record in enumerate(records(place)):
        assert record == SampleRecord(index, 7, "synthesized", "png", "step 2")
        assert not place.mask_path(index).exists()


def test_beginning_trusts_the_disk_not_a_plan_that_is_older(bank):
    """An actor may take an entry over from one that was lost after it had done a part of it."""
    place = add_samples(bank)
    (older,) = plan_refinements(bank, CONFIG, TOY, "auto")
    run(bank)
    clear_masks(older)
    for record in records(place):
        assert record.refinement is None, "else a record promises a mask that is not there"
        assert not place.mask_path(record.index).exists()


def test_an_unreadable_image_is_told_counted_and_tried_again(bank, caplog):
    place = add_samples(bank)
    place.image_path(1, "png").write_bytes(b"broken")
    plan, moved = run(bank)
    assert moved == 6
    told = caplog.messages
    assert len(told) == 1 and "image_000001.png: not a readable image" in told[0]
    assert told[0].startswith(f"failed: {plan.entry.id} image 1")
    assert count_outcomes([plan])[0].failed == 1
    assert [record.status for record in records(place)] == ["refined", "synthesized", "rejected"]
    (again,) = plan_refinements(bank, CONFIG, TOY, "auto")
    assert not again.is_done

    noted = FailureRecord.read(place.failure_path(1))
    assert (noted.step, noted.index) == (3, 1) and noted.reason in told[0]
    assert place.failed_indices() == [1] and f"noted in {place.failure_path(1)}" in told[0]
    write_image(place.image_path(1, "png"), picture(ELSEWHERE, OBJECT))
    run(bank)
    assert place.failed_indices() == []
    assert [record.status for record in records(place)] == ["refined", "refined", "rejected"]


def test_samples_of_earlier_settings_are_left_out(bank):
    add_samples(bank)
    add_sample(bank, 3, OBJECT, OBJECT, OBJECT, made_with="before")
    (plan,) = plan_refinements(bank, CONFIG, TOY, "auto")
    assert [sample.index for sample in plan.samples] == [0, 1, 2] and plan.unfinished == 1


def test_nothing_synthesized_names_the_command_to_run(bank):
    with pytest.raises(InputError, match="no synthesized images .*scripts.diffuse_img_attention"):
        plan_refinements(bank, CONFIG, TOY, "auto")


def test_counts_of_several_classes_end_with_their_sum(dataset_dir):
    bank = load_prompt_bank(dataset_dir)
    for category in ("fish", "albatross"):
        add_samples(bank.select([category]))
    plans = plan_refinements(bank, CONFIG, TOY, "auto")
    rows = count_outcomes(plans)
    assert [(row.category, row.failed) for row in rows] == [
        *(("fish", 3), ("albatross", 3), ("all", 6))
    ]
    assert rows[0].mean_iou is None
