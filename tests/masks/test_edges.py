"""Sharp edges for coarse maps, and the choice of a setting on the support pairs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.masks.coarse import coarse_map
from aligndiff.masks.edges.base import KeepEdges, KnownMap, fit_edges
from aligndiff.masks.edges.grabcut import GrabCutEdges
from aligndiff.masks.edges.guided import GuidedEdges
from aligndiff.masks.edges.sam import (
    SamAnswer,
    SamEdges,
    check,
    load_sam,
    prompts_of,
    written_in_band,
)
from aligndiff.masks.edges.table import EDGES, edge_settings
from aligndiff.masks.guided import guided_filter
from aligndiff.masks.regions import intersection_over_union
from tests.masks.made_masks import RED, bar, disc, picture

TRUTH = disc(44, 50, 20)
IMAGE = picture((TRUTH, RED))
COARSE = coarse_map(TRUTH, cells=10)


def known(truth: np.ndarray = TRUTH, image: np.ndarray = IMAGE) -> KnownMap:
    return KnownMap(image, coarse_map(truth, 10), truth.astype(np.uint8))


def test_the_guided_filter_is_the_least_squares_line_of_every_window() -> None:
    """One window by hand: slope and offset of ridge regression, Eq. 19 and 20 of the paper."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    values = rng.random((9, 9)).astype(np.float32)
    epsilon, radius = 0.01, 1
    colours = image / 255
    slopes, offsets = np.zeros((9, 9, 3)), np.zeros((9, 9))
    mirrored = [
        np.pad(layer, 1, mode="symmetric") for layer in (*colours.transpose(2, 0, 1), values)
    ]
    for y in range(9):
        for x in range(9):
            window = np.stack([layer[y : y + 3, x : x + 3].ravel() for layer in mirrored])
            covariance = np.cov(window, bias=True)
            inverse = np.linalg.inv(covariance[:3, :3] + epsilon * np.eye(3))
            slopes[y, x] = inverse @ covariance[:3, 3]
            offsets[y, x] = window[3].mean() - slopes[y, x] @ window[:3].mean(1)
    both = np.pad(np.dstack([slopes, offsets]), ((1, 1), (1, 1), (0, 0)), mode="symmetric")
    mean = sum(both[y : y + 9, x : x + 9] for y in range(3) for x in range(3)) / 9
    expected = (mean[..., :3] * colours).sum(-1) + mean[..., 3]
    filtered = guided_filter(image, values, radius / 9, epsilon)
    assert np.abs(filtered - expected).max() < 1e-4


def test_a_map_of_one_value_keeps_it() -> None:
    flat = np.full(TRUTH.shape, 0.3, np.float32)
    assert np.abs(guided_filter(IMAGE, flat, 0.05) - 0.3).max() < 1e-4


@pytest.mark.parametrize("edges", [GuidedEdges(0.08), GrabCutEdges(0.05, 0.95)])
def test_edges_come_nearer_to_the_truth(edges) -> None:
    before = intersection_over_union(COARSE > 0.5, TRUTH)
    after = intersection_over_union(edges(IMAGE, COARSE).probability > 0.5, TRUTH)
    assert before < 0.93 and after > 0.98


@pytest.mark.parametrize("edges", [GuidedEdges(0.08), GrabCutEdges(0.05, 0.95)])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_map_without_edges_gets_none(edges, level) -> None:
    flat = np.full(TRUTH.shape, level, np.float32)
    assert np.allclose(edges(IMAGE, flat).probability, flat, atol=1e-3)


def test_the_support_pairs_choose_the_setting() -> None:
    assert fit_edges(edge_settings("guided"), [known()], 0.5) == GuidedEdges(0.05)


@pytest.mark.parametrize("way", ["guided", "grabcut"])
def test_what_is_right_already_is_left_alone(way) -> None:
    right = KnownMap(IMAGE, TRUTH.astype(np.float32), TRUTH.astype(np.uint8))
    assert isinstance(fit_edges(edge_settings(way), [right], 0.5), KeepEdges)
    assert edge_settings("none") == []


def test_a_thin_object_gets_a_narrow_window() -> None:
    """Wide windows eat what is thin, so the pairs choose another radius than for a disc."""
    truth = bar(10, 46, 76, 3)
    thin = KnownMap(picture((truth, RED)), coarse_map(truth, 32), truth.astype(np.uint8))
    assert fit_edges(edge_settings("guided"), [thin], 0.5) != GuidedEdges(0.05)


def test_ignored_pixels_decide_no_setting() -> None:
    labels = TRUTH.astype(np.uint8)
    labels[:, 44:] = 255
    half = KnownMap(IMAGE, COARSE, labels)
    ring = np.where(np.arange(96) < 44, COARSE, 0.0).astype(np.float32)
    assert half.iou(KeepEdges(), 0.5) == KnownMap(IMAGE, ring, labels).iou(KeepEdges(), 0.5)


# SAM: no weights of it are on this machine, so its plumbing is tested with random ones.


def test_prompts_are_a_grown_box_and_a_point_on_either_side() -> None:
    probability = np.where(bar(20, 30, 40, 20), 0.9, 0.1).astype(np.float32)
    probability[disc(40, 40, 6)] = 0.1  # a hole
    prompts = prompts_of(probability)
    assert prompts.box == pytest.approx((16.8, 28.4, 63.2, 51.6))
    (x, y), (beside_x, beside_y) = prompts.points
    assert probability[int(y), int(x)] > 0.5 > probability[int(beside_y), int(beside_x)]
    assert (beside_x, beside_y) == (40.5, 40.5)


def test_an_answer_is_written_in_the_band_and_doubted_beyond() -> None:
    probability = np.where(TRUTH, 0.9, 0.05).astype(np.float32)
    answer = disc(44, 50, 21)  # wider by a pixel
    answer |= disc(85, 10, 5)  # and something else
    edged = written_in_band(probability, answer)
    assert np.array_equal(edged.probability > 0.5, disc(44, 50, 21))
    assert np.array_equal(edged.undecided, disc(85, 10, 5))


@pytest.mark.parametrize(("iou", "sure", "taken"), [(0.9, 0.9, True), (0.99, 0.9, False)])
def test_an_answer_about_something_else_is_not_taken(iou, sure, taken) -> None:
    answer = SamAnswer(disc(44, 50, 21), 0.95)
    probability = np.where(TRUTH, 0.9, 0.05).astype(np.float32)
    edged = SamEdges(lambda *_: answer, iou, sure)(IMAGE, probability)
    assert (edged.probability != probability).any() == taken


@pytest.mark.parametrize("kind", ["sam", "sam_hq", "sam2"])
def test_a_sam_of_random_weights_answers(kind, tmp_path) -> None:
    from tests.masks.tiny_sams import make_sam

    make_sam(kind).save_pretrained(tmp_path)
    network = load_sam(str(tmp_path), "cpu")
    probability = np.where(TRUTH, 0.9, 0.05).astype(np.float32)[:80]
    image = np.ascontiguousarray(IMAGE[:80])
    asked = network(image, prompts_of(probability), probability)
    assert asked.mask.shape == (80, 96) and np.isfinite(asked.predicted_iou)
    elsewhere = np.where(bar(0, 0, 90, 12), 0.9, 0.05).astype(np.float32)[:80]
    other = network(image, prompts_of(elsewhere), elsewhere)
    assert other.predicted_iou != asked.predicted_iou
    settings = edge_settings("sam", str(tmp_path), "cpu")
    assert [str(setting) for setting in settings][0] == "sam, IoU 0.9, predicted IoU 0.9"


def test_a_prompt_lands_where_the_image_does(tmp_path) -> None:
    """A wide image fills the square's upper half; its map must lie in just that half."""
    from tests.masks.tiny_sams import make_sam

    make_sam("sam").save_pretrained(tmp_path)
    network = load_sam(str(tmp_path), "cpu")
    prompt = network._soft_prompt(np.ones((40, 80), np.float32))[0, 0].numpy()
    assert (prompt[:7] > 0).all() and (prompt[9:] < 0).all() and prompt.shape == (16, 16)
    back = network._enlarged(cv2.resize(prompt, (16, 16)), 40, 80)
    assert back.shape == (40, 80) and (back[:36] > 0).all()


def test_sam_is_asked_for_before_anything_is_loaded(tmp_path) -> None:
    with pytest.raises(MissingWeightsError, match="--edge_model FOLDER"):
        check(None)
    with pytest.raises(MissingWeightsError, match="no such folder"):
        check(str(tmp_path / "sam"))
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(InputError, match=r"holds no model of sam, .* \(model_type vit\)"):
        check(str(tmp_path))


def test_every_way_has_a_module() -> None:
    assert list(EDGES) == ["guided", "grabcut", "sam", "none"]
