"""Matching by hand-made cells, and what the matcher promises of weights and of "ignore"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aligndiff.segmenters.base import Segmenter
from aligndiff.segmenters.features.matching import (
    NEIGHBOURS,
    CellSet,
    directions,
    fit_threshold,
    label_shares,
    nearness,
    object_score,
    positional_basis,
    without,
)
from aligndiff.segmenters.features.upsampling import (
    FLAT,
    _linear_functions,
    upsample_guided,
)
from aligndiff.segmenters.load import SegmenterOptions, choose_segmenter, load_segmenter


def cell_set(rows: list[list[float]], shares: list[float], owners: list[int]) -> CellSet:
    known = torch.tensor(rows), torch.tensor(shares)
    return CellSet(*known, torch.ones(len(rows)), torch.tensor(owners), torch.ones(len(rows)))


def test_directions_are_centred_and_every_layer_weighs_the_same() -> None:
    cells = torch.tensor([[3.0, 4.0, 100.0], [1.0, 1.0, -1.0]])
    rows = directions(cells, torch.tensor([0.0, 0.0, 1.0]), (2, 1))
    np.testing.assert_allclose(rows[0], np.array([0.6, 0.8, 1.0]) / 2**0.5, atol=1e-6)
    np.testing.assert_allclose(rows.norm(dim=1), 1.0, atol=1e-6)


def test_nearness_is_the_similarity_less_half_of_what_all_are_near_to() -> None:
    known = cell_set([[1.0, 0.0]], [1.0], [0])
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # Backward: the cell's mean similarity to the two cells of the query is 1/2.
    np.testing.assert_allclose(nearness(query, known), [1 - 0.25, 0 - 0.25])
    assert nearness(query, known.where(torch.tensor([False]))).tolist() == [0, 0]


def test_an_object_smaller_than_a_cell_is_where_most_of_it_is() -> None:
    known = cell_set([[1.0, 0.0]] * 5, [0.9, 0.5, 0.0, 0.2, 0.1], [0, 0, 0, 1, 1])
    assert known.objects.shares.tolist() == pytest.approx([0.9, 0.2])
    assert known.background.shares.tolist() == pytest.approx([0.0, 0.2, 0.1])


def test_a_weight_of_two_is_the_pair_twice() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(8, 4, generator=generator), dim=1)
    query = torch.nn.functional.normalize(torch.randn(6, 4, generator=generator), dim=1)
    shares, ones = torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0]), torch.ones(8)
    owners = torch.arange(8) // 4
    once = CellSet(rows, shares, torch.where(owners == 0, 2.0, 1.0), owners, ones)
    twice = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7])
    again = replace(once.where(twice), weights=torch.ones(12))
    assert len(once.objects.shares) < NEIGHBOURS  # a set that is too small to fill them, too
    np.testing.assert_allclose(object_score(query, once), object_score(query, again), atol=1e-6)
    assert not np.allclose(
        object_score(query, once), object_score(query, replace(once, weights=ones))
    )


def test_the_threshold_is_where_the_pairs_segment_each_other() -> None:
    """Edge cells, a third object and a hair nearer to it than to the ground, are left out."""
    edge = [0.05, 0.9975**0.5]
    rows, shares = [[1.0, 0.0], edge, edge, [-1.0, 0.0]], [1.0, 0.35, 0.35, 0.0]
    known = cell_set(rows * 2, shares * 2, [0] * 4 + [1] * 4)
    scores = object_score(torch.tensor(rows), known.where(known.owners == 1))
    assert (scores > 0).tolist() == [True, True, True, False]
    threshold = fit_threshold(known, [0, 1])
    assert (scores > threshold).tolist() == [True, False, False, False]
    assert fit_threshold(known.where(known.owners == 0), [0]) == 0.0  # nobody else to tell


def test_shares_leave_ignored_pixels_out() -> None:
    mask = torch.tensor([[1, 255, 0, 0], [1, 255, 255, 255]], dtype=torch.uint8)
    share, known = label_shares(mask, (1, 2))
    np.testing.assert_allclose(share, [1.0, 0.0])
    np.testing.assert_allclose(known, [0.5, 0.5])


def test_positions_are_projected_out() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = positional_basis(torch.randn(50, 8, generator=generator))
    cells = torch.randn(20, 8, generator=generator)
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(without(basis, cells) @ basis, 0, atol=1e-5)


def test_a_coarse_map_takes_on_the_edges_of_its_image() -> None:
    image = np.full((64, 96, 3), 30, np.uint8)
    image[:, 43:] = (200, 150, 40)
    truth = np.zeros((64, 96), bool)
    truth[:, 43:] = True
    coarse = torch.tensor(
        cv2.resize(truth.astype(np.float32), (6, 4), interpolation=cv2.INTER_AREA)
    )
    guided = upsample_guided(coarse - 0.5, image).numpy() > 0
    plain = cv2.resize(coarse.numpy(), (96, 64), interpolation=cv2.INTER_LINEAR) > 0.5
    assert (guided != truth).mean() < 0.5 * (plain != truth).mean()


@pytest.fixture(scope="module")
def matcher() -> Segmenter:
    """The matcher of the tiny world, on the backbone of the embedded SSP."""
    choice = choose_segmenter(SegmenterOptions("features", segmenter_model="tiny"))
    return load_segmenter(choice, "cpu", "float32")


def drawn(number: int) -> tuple[np.ndarray, np.ndarray]:
    """An orange disc on a striped ground, and its mask."""
    rng = np.random.default_rng(number)
    image = np.tile(rng.integers(60, 120, (1, 64, 3), dtype=np.uint8), (64, 1, 1))
    mask = np.zeros((64, 64), np.uint8)
    cv2.circle(
        mask, tuple(int(v) for v in rng.integers(20, 44, 2)), int(rng.integers(9, 14)), 1, -1
    )
    image[mask == 1] = (230, 120, 20)
    return image, mask


def test_it_finds_the_object_and_ignored_pixels_count_nowhere(matcher: Segmenter) -> None:
    pairs = [drawn(number) for number in range(4)]
    encoded = matcher.encode([image for image, _ in pairs])
    items = [matcher.describe(seen, mask) for seen, (_, mask) in zip(encoded, pairs, strict=True)]
    matcher.set_support(items[1:])
    probability = matcher.segment(encoded[0])
    truth = pairs[0][1] == 1
    found = probability > 0.5
    assert probability.shape == (64, 64) and probability.dtype == np.float32
    assert (found & truth).sum() / (found | truth).sum() > 0.8

    ignored = np.full((64, 64), 255, np.uint8)
    matcher.set_support([*items[1:], matcher.describe(encoded[0], ignored)])
    np.testing.assert_allclose(matcher.segment(encoded[0]), probability, atol=1e-5)
    with pytest.raises(ValueError, match="not all 'ignore'"):
        matcher.set_support([matcher.describe(encoded[0], ignored)])


def test_a_batch_and_an_image_alone_are_seen_alike(matcher: Segmenter) -> None:
    images = [drawn(number)[0] for number in range(3)]
    together = matcher.encode(images)
    alone = [matcher.encode([image])[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        for maps, others in zip(one.maps, other.maps, strict=True):  # type: ignore[attr-defined]
            np.testing.assert_allclose(maps, others, atol=1e-4)
        assert one.nbytes == other.nbytes > images[0].nbytes


def test_support_comes_first(matcher: Segmenter) -> None:
    choice = choose_segmenter(SegmenterOptions("features", segmenter_model="tiny"))
    fresh = load_segmenter(choice, "cpu", "float32")
    with pytest.raises(RuntimeError, match="set_support"):
        fresh.segment(fresh.encode([drawn(0)[0]])[0])
    assert choice.identity.startswith("features v1 tiny_ssp.safetensors ")
    assert isinstance(choice.weights.location, Path)


def test_the_linear_functions_are_the_least_squares_of_every_window() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 30, 40, generator=generator)
    values = torch.rand(1, 1, 30, 40, generator=generator)
    slope, offset = _linear_functions(image, values, 2)
    slopes, offsets = [], []
    for y in range(13, 18):  # all windows that the cell (15, 20) lies in
        for x in range(18, 23):
            window = np.s_[..., y - 2 : y + 3, x - 2 : x + 3]
            colours = image[window].reshape(3, -1).T.double()
            ridge = FLAT * len(colours) * torch.eye(3).double()
            centred, mean = colours - colours.mean(0), values[window].mean().double()
            target = centred.T @ (values[window].flatten().double() - mean)
            slopes.append(torch.linalg.solve(centred.T @ centred + ridge, target))
            offsets.append(mean - slopes[-1] @ colours.mean(0))
    np.testing.assert_allclose(slope[0, :, 15, 20], torch.stack(slopes).mean(0), atol=1e-5)
    np.testing.assert_allclose(offset[0, 0, 15, 20], torch.stack(offsets).mean(), atol=1e-5)
