from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aligndiff.segmenters.trained.augment import (
    ERASING,
    STILL,
    STRONG,
    USUAL,
    LabelledBatch,
    augment,
)

SIDE = 32


def squares(count: int = 16) -> LabelledBatch:
    """A bright red square on dark green; the uppermost rows count nowhere."""
    images = torch.full((count, 3, SIDE, SIDE), -0.8)
    images[:, 1] = -0.5
    objects = torch.zeros(count, 1, SIDE, SIDE)
    objects[:, :, 10:22, 8:20] = 1
    images = torch.where(objects > 0, torch.tensor([0.9, -0.9, -0.9]).view(1, 3, 1, 1), images)
    counted = torch.ones_like(objects)
    counted[:, :, :3] = 0
    return LabelledBatch(images, objects, counted)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_still_changes_nothing_but_left_and_right() -> None:
    before, after = squares(), augment(squares(), STILL, generator())
    mirrored = before.images.flip(-1)
    for one, seen in enumerate(after.images):
        same = min((seen - known[one]).abs().max() for known in (before.images, mirrored))
        assert same < 1e-4
    assert torch.equal(after.counted, before.counted)


@pytest.mark.parametrize("how", [USUAL, replace(USUAL, recoloured=0.7)])
def test_image_and_mask_are_moved_by_the_same_draws(how) -> None:
    plain = replace(how, contrast=0, brightness=0, tint=0, noise=0, recoloured=0)
    after = augment(squares(), plain, generator(3))
    red = (after.images[:, :1] > 0).float()
    union = ((red + after.objects) > 0).sum()
    assert (red * after.objects).sum() / union > 0.9
    assert 0 < after.objects.mean() < 0.6


def test_the_same_generator_gives_the_same_batch() -> None:
    first, again = (augment(squares(), STRONG, generator(5)) for _ in range(2))
    other = augment(squares(), STRONG, generator(6))
    assert torch.equal(first.images, again.images) and torch.equal(first.objects, again.objects)
    assert not torch.equal(first.images, other.images)


def test_recolouring_takes_most_objects_out_of_their_colour() -> None:
    how = replace(STILL, recoloured=1.0)
    after = augment(squares(64), how, generator())
    red = (after.images[:, 0] > 0.5) & (after.images[:, 1] < -0.5) & (after.objects[:, 0] > 0)
    still_red = red.flatten(1).sum(1) > 100
    assert 0 < still_red.float().mean() < 0.5


def test_what_is_painted_over_is_no_object_any_more() -> None:
    how = replace(STILL, erased=1.0)
    after = augment(squares(64), how, generator())
    assert after.objects.sum() < squares(64).objects.sum()
    assert ERASING.erased == 0.9
    red = (after.images[:, :1] > 0.85) & (after.images[:, 1:2] < -0.85)
    assert (after.objects[red.expand_as(after.objects)] == 1).float().mean() > 0.9
