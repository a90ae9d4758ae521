from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aligndiff.annotations.backgrounds import find_backgrounds
from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_image, write_mask
from aligndiff.training.composing import QueryComposer
from aligndiff.training.episodes import PairEpisodes
from aligndiff.training.pairs import ClassPairs, Pair

SIDE = 64
RED, BLUE = (250, 20, 20), (20, 20, 250)


def disc(colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A disc on grey, and its mask."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = ((rows - 32) ** 2 + (columns - 32) ** 2 < 200).astype(np.uint8)
    return np.where(mask[..., None] > 0, np.uint8(colour), np.uint8(128)), mask


def one_class(name: str, colour: tuple[int, int, int]) -> ClassPairs:
    return ClassPairs(name, tuple(Pair(name, str(i), lambda: disc(colour)) for i in range(3)), ())


CLASSES = [one_class("fish", RED), one_class("boat", BLUE)]


def test_queries_come_by_thirds_and_their_masks_are_of_their_class_alone() -> None:
    composer = QueryComposer(CLASSES, (), SIDE)
    rng, kinds = np.random.default_rng(0), {"plain": 0, "composed": 0, "negative": 0}
    for _ in range(300):
        made = composer.query("fish", *disc(RED), rng)
        if made is None:
            kinds["plain"] += 1
            continue
        image, mask = made
        assert image.shape == (SIDE, SIDE, 3) and mask.shape == (SIDE, SIDE)
        kinds["composed" if (mask == 1).any() else "negative"] += 1
        red = (image[..., 0] > 180) & (image[..., 2] < 90)
        assert (mask[red] != 0).mean() > 0.9 if red.sum() > 20 else True
        assert not (mask[(image[..., 2] > 200) & (image[..., 0] < 60)] == 1).any()
    assert all(70 < count < 130 for count in kinds.values())


def test_composed_episodes_depend_on_seed_step_and_slot_alone() -> None:
    def source(compose: bool) -> PairEpisodes:
        composer = QueryComposer(CLASSES, (), SIDE) if compose else None
        return PairEpisodes(CLASSES, 1, SIDE, 0.5, 1.2, 7, composer)

    first, again, plain = source(True), source(True), source(False)
    again.episode(3, 1)
    changed = 0
    for step in range(12):
        one, two = first.episode(step, 0), again.episode(step, 0)
        assert np.array_equal(one.images, two.images) and np.array_equal(one.masks, two.masks)
        without = plain.episode(step, 0)
        assert np.array_equal(one.images[0], without.images[0])  # the support is never composed
        changed += not np.array_equal(one.images[1], without.images[1])
    assert changed > 4


def test_one_class_needs_backgrounds_and_photos_that_show_it_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to paste fish into; give --backgrounds"):
        QueryComposer(CLASSES[:1], (), SIDE)
    image, mask = disc(RED)
    (tmp_path / "fish").mkdir()
    write_image(tmp_path / "fish" / "1.jpg", image)
    write_mask(tmp_path / "fish" / "1.png", mask > 0)
    photos = find_backgrounds(tmp_path)
    with pytest.raises(InputError, match="nothing to paste fish into"):
        QueryComposer(CLASSES[:1], photos, SIDE)
    composer = QueryComposer([CLASSES[1]], photos, SIDE)  # a boat beside the marked fish
    assert composer.query("boat", *disc(BLUE), np.random.default_rng(1)) is not None
