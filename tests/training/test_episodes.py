from __future__ import annotations

import numpy as np

from aligndiff.training.episodes import PairEpisodes, draw_pairs, random_view
from aligndiff.training.pairs import ClassPairs, Pair

SIDE = 48


def square(place: int) -> tuple[np.ndarray, np.ndarray]:
    """A white square that grows darker to the right, on black; its mask; one row to be ignored."""
    image, mask = np.zeros((60, 80, 3), np.uint8), np.zeros((60, 80), np.uint8)
    image[20:40, place : place + 20] = np.linspace(250, 150, 20, dtype=np.uint8)[:, None]
    mask[20:40, place : place + 20] = 1
    mask[0] = 255
    return image, mask


def some_class(real: int, synthetic: int) -> ClassPairs:
    def named(kind: str, count: int) -> tuple[Pair, ...]:
        return tuple(Pair("dog", f"{kind}{i}", lambda i=i: square(5 * i)) for i in range(count))

    return ClassPairs("dog", named("real", real), named("made", synthetic))


def test_image_and_mask_are_moved_by_the_same_draws() -> None:
    rng, flips = np.random.default_rng(0), set()
    for _ in range(40):
        image, mask = random_view(*square(30), SIDE, 1.5, rng)
        assert image.shape == (SIDE, SIDE, 3) and mask.shape == (SIDE, SIDE)
        assert {0, 1} <= set(np.unique(mask)) <= {0, 1, 255}
        bright = image[..., 0] > 130
        grey = (image == (124, 116, 104)).all(axis=-1)
        assert (mask[grey] == 255).all()  # beside the image nothing counts
        assert np.mean((bright == (mask == 1))[mask != 255]) > 0.97
        row = image[np.flatnonzero((mask == 1).any(axis=1))[3], :, 0].astype(int)
        shades = row[row > 140]
        flips.add(bool(shades[2] < shades[-3]))
    assert flips == {True, False}


def test_a_view_without_the_object_is_drawn_again() -> None:
    image, mask = np.zeros((200, 200, 3), np.uint8), np.zeros((200, 200), np.uint8)
    mask[:3, :3] = 1
    rng = np.random.default_rng(0)
    views = [random_view(image, mask, 100, 4.0, rng)[1] for _ in range(30)]
    assert all((view == 1).any() and (view == 0).any() for view in views)


def test_without_jitter_the_whole_image_is_there() -> None:
    _, mask = random_view(*square(30), 80, 1.0, np.random.default_rng(0))
    assert np.count_nonzero(mask == 1) == 400
    assert np.count_nonzero(mask == 255) == 80 + 20 * 80


def test_pairs_are_drawn_by_kind_and_none_twice() -> None:
    rng, one = np.random.default_rng(0), some_class(4, 30)
    drawn = [draw_pairs(one, 3, 0.25, rng) for _ in range(400)]
    assert all(len(set(pairs)) == 3 for pairs in drawn)
    real = np.mean([pair in one.real for pairs in drawn for pair in pairs])
    assert 0.2 < real < 0.3
    assert set(draw_pairs(one, 6, 1.0, rng)) > set(one.real)  # the rest is synthetic
    assert len(draw_pairs(some_class(0, 3), 3, 1.0, rng)) == 3
    assert len(draw_pairs(some_class(3, 0), 3, 0.0, rng)) == 3


def test_an_episode_depends_on_seed_step_and_slot_alone() -> None:
    def source(seed: int) -> PairEpisodes:
        return PairEpisodes([some_class(3, 5)], 2, SIDE, 0.5, 1.25, seed)

    first, again = source(1), source(1)
    again.episode(9, 9)
    wanted = first.episode(4, 2)
    assert wanted.images.shape == (3, SIDE, SIDE, 3) and wanted.masks.shape == (3, SIDE, SIDE)
    found = again.episode(4, 2)
    assert np.array_equal(wanted.images, found.images)
    assert np.array_equal(wanted.masks, found.masks)
    for other in (first.episode(4, 1), first.episode(5, 2), source(2).episode(4, 2)):
        assert not np.array_equal(wanted.images, other.images)
