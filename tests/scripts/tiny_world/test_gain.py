"""The gain: which pairs are taken, that images and masks stay together, what the figures mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_json
from aligndiff.dataset.images import write_image, write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import MaskSource, SampleRecord, Status
from scripts.tiny_world.make_example import draw_pairs
from scripts.tiny_world.measure.gain import GainPoint, measure_gain
from scripts.tiny_world.measure.pairs import (
    FIRST_SCENE,
    Pairs,
    crowded_scenes,
    join,
    load_real_pairs,
    load_synthetic_pairs,
)
from scripts.tiny_world.measure.segmenter import (
    GainRecipe,
    SmallSegmenter,
    augment,
    class_iou,
    pair_weights,
    segmentation_loss,
    train_small_segmenter,
)
from scripts.tiny_world.world.example import EXAMPLES, example_scene, resembles_an_example
from scripts.tiny_world.world.scene import Scene, render

SIDE = 128
STILL = GainRecipe(
    turn=0, scales=(1, 1), shift=0, contrast=0, brightness=0, tint=0, noise=0, erased=0
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example objects, drawn with a text and with a learned word; grey level = sample."""
    root = tmp_path_factory.mktemp("gain")
    entries = []
    for name in EXAMPLES:
        draw_pairs(name, root / name)
        common = {"category": name, "D_good_dir": name}
        entries.append({"type": "text", "text": f"a photo of a {name}", **common})
        entries.append({"type": "NM_embedding", "path": name, **common})
    write_json(root / "dataset.json", {"prompt_dataset": entries})
    for entry in load_prompt_bank(root).entries:
        place = EntryFolder(root, entry)
        place.make()
        if entry.type == "text":
            add_sample(place, 0, 200, "refined", "consensus")
            continue
        for index in range(6):
            add_sample(place, index, index, "refined", "pseudo_label" if index else "consensus")
        add_sample(place, 6, 201, "rejected", None)
        add_sample(place, 7, 202, "synthesized", None)
    return root


def add_sample(
    place: EntryFolder, index: int, grey: int, status: Status, source: MaskSource | None
) -> None:
    write_image(place.image_path(index, "png"), np.full((SIDE, SIDE, 3), grey, np.uint8))
    if status == "refined":
        mask = np.zeros((SIDE, SIDE), bool)
        mask[: grey + 1] = True
        write_mask(place.mask_path(index), mask)
    record = SampleRecord(index, 0, status, "png", "0" * 16, mask_source=source)
    record.write(place.record_path(index))


def greys(pairs: Pairs) -> list[int]:
    return [int(image[0, 0, 0]) for image in pairs.images]


def test_real_pairs_are_those_of_the_folder(dataset: Path) -> None:
    every = load_real_pairs(dataset / "fish", 5, seed=0)
    assert every.images.shape == (5, SIDE, SIDE, 3) and every.images.dtype == np.uint8
    assert every.masks.shape == (5, SIDE, SIDE) and every.masks.dtype == np.bool_
    drawn = render(example_scene(90_000_000, "fish", alone=True)).masks[0]
    assert any(np.array_equal(mask, drawn) for mask in every.masks)
    single = [load_real_pairs(dataset / "fish", 1, seed) for seed in range(6)]
    assert all(len(pairs) == 1 for pairs in single)
    assert len({pairs.images.tobytes() for pairs in single}) > 1


def test_too_few_real_pairs_are_told(dataset: Path) -> None:
    with pytest.raises(InputError, match=r"fish: has 5 support pairs, 6 are needed; add some"):
        load_real_pairs(dataset / "fish", 6, seed=0)


def test_synthetic_pairs_are_what_step_3_kept_of_the_learned_look(dataset: Path) -> None:
    every = load_synthetic_pairs(dataset, "fish", 100, seed=0)
    assert sorted(greys(every)) == [0, 1, 2, 3, 4, 5]
    assert [int(mask[:, 0].sum()) - 1 for mask in every.masks] == greys(every)


def test_a_smaller_choice_is_part_of_a_larger_one(dataset: Path) -> None:
    few, many = (greys(load_synthetic_pairs(dataset, "fish", n, seed=1)) for n in (2, 5))
    assert many[:2] == few and len(set(many)) == 5
    assert len({tuple(greys(load_synthetic_pairs(dataset, "fish", 3, s))) for s in range(5)}) > 1


def test_no_synthetic_pairs_is_told(dataset: Path, tmp_path: Path) -> None:
    draw_pairs("fish", tmp_path / "fish")
    entry = {"type": "NM_embedding", "category": "fish", "D_good_dir": "fish", "path": "fish"}
    write_json(tmp_path / "dataset.json", {"prompt_dataset": [entry]})
    with pytest.raises(InputError, match="no fish has a mask from a learned word; run the three"):
        load_synthetic_pairs(tmp_path, "fish", 5, seed=0)


def test_scenes_show_the_object_beside_another_thing() -> None:
    scenes = crowded_scenes("fish", 3)
    again = crowded_scenes("fish", 2)
    assert np.array_equal(scenes.images[:2], again.images)
    seeds = range(FIRST_SCENE, FIRST_SCENE + 6)
    plans = [example_scene(seed, "fish", alone=False) for seed in seeds]
    kept = [plan for plan in plans if not resembles_an_example(plan.things[1].look)][:3]
    for plan, image, mask in zip(kept, scenes.images, scenes.masks, strict=True):
        rendering = render(plan)
        assert plan.things[1].category != "fish"
        assert np.array_equal(image, rendering.image)
        assert np.array_equal(mask, rendering.masks[0])


def test_the_other_thing_never_wears_an_example_look(monkeypatch: pytest.MonkeyPatch) -> None:
    look = EXAMPLES["fish"]
    worn = iter([look, None, look, None])

    def scene(seed: int, category: str, alone: bool) -> Scene:
        plan = example_scene(seed, category, alone)
        other = next(worn)
        first, second = plan.things
        return replace(plan, things=(first, replace(second, look=other or second.look)))

    monkeypatch.setattr("scripts.tiny_world.measure.pairs.example_scene", scene)
    images = crowded_scenes("fish", 2).images
    clean = [render(example_scene(FIRST_SCENE + at, "fish", alone=False)).image for at in (1, 3)]
    assert np.array_equal(images, np.stack(clean))


def test_pairs_are_drawn_by_number_or_by_share() -> None:
    assert pair_weights(2, 3, None).tolist() == [1.0] * 5
    assert pair_weights(2, 0, 0.5).tolist() == [1.0] * 2
    assert pair_weights(2, 4, 0.5).tolist() == [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]


def test_image_and_mask_move_together() -> None:
    masks = torch.zeros(8, 1, 64, 64)
    masks[:, :, 20:44, 8:40] = 1
    moving = GainRecipe(contrast=0, brightness=0, tint=0, noise=0, erased=0)
    images, moved = augment(
        (masks * 2 - 1).repeat(1, 3, 1, 1), masks, moving, torch.Generator().manual_seed(0)
    )
    assert torch.equal((images[:, :1] > 0).float(), moved)
    areas = moved.sum((1, 2, 3))
    assert areas.min() < 0.7 * areas.max()


def test_what_is_painted_over_is_no_object() -> None:
    masks = torch.ones(32, 1, 64, 64)
    pictures = torch.full((32, 3, 64, 64), 0.125)
    erasing = GainRecipe(**{**vars(STILL), "erased": 1.0})
    images, left = augment(pictures, masks, erasing, torch.Generator().manual_seed(0))
    assert torch.equal(images[(left > 0).expand_as(images)].unique(), torch.tensor([0.125]))
    assert 0.5 < left.mean() < 0.95
    assert left.mean((1, 2, 3)).min() > 0.4
    images, left = augment(pictures, masks, STILL, torch.Generator().manual_seed(0))
    assert torch.equal(left, masks)


def test_loss_is_small_where_the_logits_are_right() -> None:
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, :, :4] = 1
    right = segmentation_loss(40 * masks - 20, masks)
    assert float(right) == pytest.approx(0, abs=1e-3)
    assert float(segmentation_loss(20 - 40 * masks, masks)) > 10


class RedMeansObject(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1] * self.weight


def test_class_iou_counts_a_scene_by_its_area() -> None:
    images = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    images[:, :, :64, 0] = 255
    masks = np.zeros((2, SIDE, SIDE), bool)
    masks[0, :, :64] = True  # found whole
    masks[1, :32, :64] = True  # a quarter of what is found
    iou = class_iou(RedMeansObject(), Pairs(images, masks))  # type: ignore[arg-type]
    assert iou == pytest.approx((4 + 1) / (4 + 4))


def test_segmenter_learns_and_the_same_seed_learns_the_same(dataset: Path) -> None:
    pairs, scenes = load_real_pairs(dataset / "fish", 5, seed=0), crowded_scenes("fish", 6)
    recipe = GainRecipe(steps=25, batch_size=8, warmup=2)
    segmenter = train_small_segmenter(pairs, 5, seed=0, recipe=recipe)
    again = train_small_segmenter(pairs, 5, seed=0, recipe=recipe)
    for name, weight in segmenter.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    everything = class_iou(everywhere(), scenes)
    assert class_iou(segmenter, scenes) > everything + 0.1


def everywhere() -> SmallSegmenter:
    """Takes every pixel for the object."""
    network = SmallSegmenter().eval()
    nn.init.zeros_(network.head.weight)
    nn.init.ones_(network.head.bias)
    return network


def test_gain_of_each_amount_object_and_seed(dataset: Path) -> None:
    recipe, amounts = GainRecipe(steps=16, batch_size=4, warmup=2), ((1, 0), (5, 2), (5, 50))
    points = measure_gain(dataset, amounts, seeds=2, scenes=2, workers=1, recipe=recipe)
    assert [(p.real, p.synthetic, p.used) for p in points] == [
        (1, 0, (0, 0)),
        (5, 2, (2, 2)),
        (5, 50, (6, 6)),
    ]
    assert all(np.shape(point.ious) == (len(EXAMPLES), 2) for point in points)
    pairs = join(
        load_real_pairs(dataset / "mushroom", 5, 1), load_synthetic_pairs(dataset, "mushroom", 2, 1)
    )
    segmenter = train_small_segmenter(pairs, 5, seed=1, recipe=recipe)
    assert points[1].ious[1][1] == class_iou(segmenter, crowded_scenes("mushroom", 2))
    assert len({iou for point in points for one_object in point.ious for iou in one_object}) > 6


def test_means_of_a_point_by_hand() -> None:
    point = GainPoint(5, 0, (0, 0), ((0.2, 0.4), (0.6, 1.0)))
    assert point.seed_mious == pytest.approx((0.4, 0.7))
    assert point.miou == pytest.approx(0.55)
