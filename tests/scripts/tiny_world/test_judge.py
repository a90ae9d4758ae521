"""The judge: what it says of rendered scenes, of what it cannot know, and how it learned it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from aligndiff.core.errors import InputError
from scripts.tiny_world.measure.judge import (
    CATEGORY_NAMES,
    COLOUR_NAMES,
    GROUND,
    KIND_NAMES,
    LOOK_CELL,
    NO_SECOND,
    TEXTURE_NAMES,
    WEIGHTS,
    Judge,
    JudgeVerdict,
    Opinion,
    judge_accuracy,
    judge_images,
    judged_scene,
    load_judge,
    save_judge,
)
from scripts.tiny_world.train.judge import (
    NOWHERE,
    draw_batch,
    draw_scenes,
    judge_loss,
    wobbled,
)
from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.scene import SIDE, random_scene, render
from scripts.tiny_world.world.shapes import RARE, kind_of

SEED = 70_000_000  # neither trained on nor measured on


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.set_num_threads(1)
    return load_judge()


def verdict(texture: str, colour: str, second: str | None, found: bool = True) -> JudgeVerdict:
    mask = np.full((4, 4), found)
    return JudgeVerdict("fish", "eel", texture, colour, second, mask, mask)


class Painted(Judge):
    """Says of every image that its pixels are of these categories, sure of all and orange."""

    def __init__(self, categories: np.ndarray) -> None:
        super().__init__()
        self.categories = torch.from_numpy(categories)

    def forward(self, images: Tensor) -> Opinion:
        def sure(classes: Tensor, count: int) -> Tensor:
            logits = 20.0 * F.one_hot(classes, count).permute(2, 0, 1)
            return logits.expand(len(images), -1, -1, -1)

        cells = torch.zeros_like(self.categories[::LOOK_CELL, ::LOOK_CELL])
        return Opinion(
            sure(self.categories, GROUND + 1),
            sure(cells + TEXTURE_NAMES.index("dotted"), len(TEXTURE_NAMES)),
            sure(cells + COLOUR_NAMES.index("orange"), len(COLOUR_NAMES)),
            sure(cells + NO_SECOND, NO_SECOND + 1),
            sure(cells + KIND_NAMES.index(("fish", "ray")), len(KIND_NAMES)),
        )


BLANK = np.zeros((1, 32, 32, 3), np.uint8)


def test_a_look_is_worn_with_its_texture_and_its_colours_dots_on_theirs() -> None:
    spotted = Look("dotted", "pink", "green")
    assert verdict("dotted", "pink", "green").wears(spotted)
    assert not verdict("dotted", "green", "pink").wears(spotted)
    assert not verdict("striped", "pink", "green").wears(spotted)
    assert not verdict("dotted", "pink", "white").wears(spotted)
    assert not verdict("dotted", "pink", "green", found=False).wears(spotted)
    assert verdict("plain", "pink", None).wears(Look("plain", "pink"))


@pytest.mark.parametrize("texture", ["checkered", "striped", "banded"])
def test_stripes_bands_and_checks_have_no_order(texture: str) -> None:
    look = Look(texture, "black", "white")
    assert verdict(texture, "white", "black").wears(look)
    assert verdict(texture, "black", "white").wears(look)
    assert not verdict(texture, "white", "red").wears(look)


def test_the_published_judge_is_right_on_fresh_scenes(judge: Judge) -> None:
    accuracy = judge_accuracy(judge, scenes=60, first_seed=SEED)
    # On 400 scenes: see docs/TINY_WORLD.md.
    assert accuracy.category > 0.95 and accuracy.kind > 0.9
    assert accuracy.look > 0.85 and accuracy.foreground_iou > 0.9


def test_the_published_weights_are_small_and_float16() -> None:
    assert WEIGHTS.stat().st_size < 2_000_000
    dtypes = {value.dtype for value in safetensors.torch.load_file(WEIGHTS).values()}
    assert dtypes == {torch.float16, torch.int64}


def test_each_of_two_objects_can_be_asked_for(judge: Judge) -> None:
    scene = random_scene(SEED + 2, "fish", Look("striped", "orange", "white"), alone=False)
    drawn = render(scene)
    images = drawn.image[None]
    for thing, mask in zip(scene.things, drawn.masks, strict=True):
        found = judge_images(judge, images, thing.category)[0]
        assert (found.mask & mask).sum() / (found.mask | mask).sum() > 0.85
        assert found.wears(thing.look)
        assert found.category == judge_images(judge, images)[0].category
    absent = next(c for c in CATEGORY_NAMES if all(t.category != c for t in scene.things))
    nothing = judge_images(judge, images, absent)[0]
    assert not nothing.mask.any() and not any(nothing.wears(t.look) for t in scene.things)


def test_verdicts_do_not_depend_on_the_batch(judge: Judge) -> None:
    images = np.stack([render(random_scene(SEED + i)).image for i in range(18)])
    together = judge_images(judge, images)
    for i in (0, 16, 17):
        alone = judge_images(judge, images[i : i + 1])[0]
        assert alone.category == together[i].category
        assert (alone.mask == together[i].mask).mean() > 0.999
    assert judge_images(judge, images[:0]) == []


def test_a_patch_in_an_object_is_the_objects_but_a_large_one_is_not() -> None:
    fish, star = CATEGORY_NAMES.index("fish"), CATEGORY_NAMES.index("star")
    categories = np.full((32, 32), GROUND)
    categories[4:24, 6:26] = fish  # symmetric: the judge looks at the mirror image, too
    categories[10:15, 14:18] = star  # 5 % of the region
    found = judge_images(Painted(categories), BLANK)[0]
    assert found.category == "fish" and found.mask.sum() == 400
    categories[4:15, 6:26] = star  # 55 %: another object that touches
    assert judge_images(Painted(categories), BLANK)[0].category == "star"
    assert judge_images(Painted(categories), BLANK)[0].mask.sum() == 220
    assert judge_images(Painted(categories), BLANK, "fish")[0].mask.sum() == 180
    assert judge_images(Painted(categories), BLANK, "fish")[0].foreground.sum() == 400


def test_the_kind_is_one_of_the_category_found() -> None:
    categories = np.full((32, 32), CATEGORY_NAMES.index("fish"))
    assert judge_images(Painted(categories), BLANK)[0].kind == "ray"
    # Sure of a fish's kind where it sees a house, it must name a kind of house.
    categories = np.full((32, 32), CATEGORY_NAMES.index("house"))
    assert ("house", judge_images(Painted(categories), BLANK)[0].kind) in KIND_NAMES


def test_the_judge_is_taught_the_rare_class() -> None:
    seen = [judged_scene(seed).things[0].category for seed in range(110)]
    assert seen.count(RARE) == 10


def test_an_empty_image_has_a_category_but_no_mask() -> None:
    found = judge_images(Painted(np.full((32, 32), GROUND)), BLANK)[0]
    assert found.category in CATEGORY_NAMES
    assert not found.mask.any() and not found.foreground.any()


def test_a_textured_thing_has_two_different_colours() -> None:
    # Sure of dots and of orange, it sees no second colour; it must name one nevertheless.
    found = judge_images(Painted(np.zeros((32, 32), np.int64)), BLANK)[0]
    assert found.texture == "dotted" and found.colour == "orange"
    assert found.second in set(COLOUR_NAMES) - {"orange"}


def test_weights_come_back_as_they_were_saved(tmp_path: Path) -> None:
    judge = Judge().eval()
    save_judge(judge, tmp_path / "judge.safetensors")
    loaded = load_judge(tmp_path / "judge.safetensors")
    assert not loaded.training
    pairs = zip(judge.state_dict().values(), loaded.state_dict().values(), strict=True)
    assert all(second.dtype == first.dtype for first, second in pairs)
    image = torch.rand(1, 3, 32, 32)
    assert torch.allclose(judge(image).category, loaded(image).category, atol=0.02)


def test_files_that_hold_no_judge_are_refused_in_one_line(tmp_path: Path) -> None:
    missing, damaged, other = (tmp_path / name for name in ("missing", "damaged", "other"))
    damaged.write_bytes(b"nothing of the kind")
    safetensors.torch.save_file({"weight": torch.zeros(3)}, other)
    for path, why in (
        (missing, r"no such file; make it by .*train judge$"),
        (damaged, "not a readable safetensors file"),
        (other, "its tensors are not those of this version's judge"),
    ):
        with pytest.raises(InputError, match=why) as caught:
            load_judge(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_every_pixel_of_an_object_learns_the_look_of_that_object() -> None:
    scenes = draw_scenes(SEED, 24, workers=1)
    images, truth = draw_batch(scenes, 12, np.random.default_rng(0))
    assert images.shape == (12, SIDE, SIDE, 3) and images.dtype == np.uint8
    for worn in (truth.texture, truth.colour, truth.second, truth.kind):
        assert np.array_equal(worn == NOWHERE, truth.category == GROUND)
    plain = truth.texture == TEXTURE_NAMES.index("plain")
    objects = truth.category != GROUND
    assert np.array_equal(objects & plain, truth.second == NO_SECOND)
    scene = judged_scene(SEED)
    for thing, mask in zip(scene.things, render(scene).masks, strict=True):
        labels = scenes.labels[0][scenes.things[0]][mask]
        assert len(np.unique(labels, axis=0)) == 1
        assert CATEGORY_NAMES[labels[0, 0]] == thing.category
        assert COLOUR_NAMES[labels[0, 2]] == thing.look.colour
        assert KIND_NAMES[labels[0, 4]] == (
            thing.category,
            kind_of(thing.category, thing.shape_seed),
        )


def test_image_and_truth_are_bent_alike() -> None:
    things = np.zeros((SIDE, SIDE), np.uint8)
    things[30:90, 40:100] = 1
    image = np.repeat(things[..., None] * 200, 3, axis=2)
    bent, truth = wobbled(image, things, np.random.default_rng(1))
    assert (truth != things).any()
    assert ((bent[..., 0] > 100) != (truth == 1)).sum() <= 5  # pixels of a corner, interpolated


def test_learning_lowers_the_loss() -> None:
    torch.manual_seed(0)
    judge, scenes = Judge().train(), draw_scenes(SEED, 2, workers=1)
    batch = draw_batch(scenes, 2, np.random.default_rng(0))
    optimizer = torch.optim.AdamW(judge.parameters(), lr=4e-3)
    losses = []
    for _ in range(8):
        loss = judge_loss(judge, *batch, torch.device("cpu"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
