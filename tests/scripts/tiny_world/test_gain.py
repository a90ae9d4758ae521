"""The gain: which pairs are taken, in which scenes they are tested, the whole of it once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_grey, write_image, write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import MaskSource, SampleRecord, Status
from aligndiff.dataset.support import SupportPair
from aligndiff.evaluation.gain.recipes import RECIPES
from scripts.tiny_world.measure import gain as measure_gain_module
from scripts.tiny_world.measure.datasets import make_draw
from scripts.tiny_world.measure.gain import ARMS, GainJob, measure_gain
from scripts.tiny_world.measure.judge import WEIGHTS
from scripts.tiny_world.measure.pairs import (
    FIRST_SCENES,
    base_surroundings,
    real_pairs,
    scenes,
    synthetic_pairs,
)
from scripts.tiny_world.measure.picture import TILE, gain_picture
from scripts.tiny_world.measure.runs import QUICK
from scripts.tiny_world.world.example import BASE_CATEGORIES, resembles_an_example
from scripts.tiny_world.world.scene import random_scene, render
from scripts.tiny_world.world.shapes import SHAPES, kind_of

SIDE = 128


@pytest.fixture(scope="module")
def draw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A draw of real pairs, and samples whose grey level is their number."""
    root = tmp_path_factory.mktemp("gain") / "draw_0"
    make_draw(root, 0, prompts=1)
    for entry in load_prompt_bank(root).entries:
        place = EntryFolder(root, entry)
        place.make()
        for index in range(6):
            add_sample(place, index, index, "refined", "pseudo_label" if index else "consensus")
        add_sample(place, 6, 201, "rejected", None)
        add_sample(place, 7, 202, "synthesized", None)
    return root


def add_sample(
    place: EntryFolder, index: int, grey: int, status: Status, source: MaskSource | None
) -> None:
    write_image(place.image_path(index, "png"), np.full((SIDE, SIDE, 3), grey, np.uint8))
    heat = np.zeros((SIDE, SIDE), np.uint8)
    heat[:, :10] = 255
    write_grey(place.heatmap_path(index), heat)
    if status == "refined":
        mask = np.zeros((SIDE, SIDE), bool)
        mask[: grey + 1] = True
        write_mask(place.mask_path(index), mask)
    record = SampleRecord(index, 0, status, "png", "0" * 16, mask_source=source)
    record.write(place.record_path(index))


def greys(pairs: list[SupportPair]) -> list[int]:
    return [int(pair.image[0, 0, 0]) for pair in pairs]


def test_a_draw_has_a_pair_of_each_kind_and_draws_differ(draw: Path, tmp_path: Path) -> None:
    pairs = real_pairs(draw / "fish", 5, 0)
    assert [pair.name for pair in pairs] == ["1", "2", "3", "4", "5"]
    assert all(0 < (pair.mask == 1).mean() < 0.9 for pair in pairs)
    make_draw(tmp_path, 1, prompts=1)
    others = real_pairs(tmp_path / "fish", 5, 0)
    assert not any(np.array_equal(a.mask, b.mask) for a, b in zip(pairs, others, strict=True))
    single = {real_pairs(draw / "fish", 1, at)[0].name for at in range(5)}
    assert single == {"1", "2", "3", "4", "5"}
    with pytest.raises(InputError, match=r"fish: has 5 support pairs, 6 are needed; add some"):
        real_pairs(draw / "fish", 6, 0)


def test_synthetic_pairs_are_what_step_3_kept_with_the_masks_asked_for(draw: Path) -> None:
    every = synthetic_pairs(draw, "fish", "mask", 100, seed=0)
    assert sorted(greys(every)) == [0, 1, 2, 3, 4, 5]
    assert [int(pair.mask[:, 0].sum()) - 1 for pair in every] == greys(every)
    heated = synthetic_pairs(draw, "fish", "heatmap", 100, seed=0)
    assert greys(heated) == greys(every) and heated[0].mask.sum() == 10 * SIDE
    assert greys(synthetic_pairs(draw, "fish", "consensus", 100, seed=0)) == [0]
    few, many = (greys(synthetic_pairs(draw, "fish", "mask", n, seed=1)) for n in (2, 5))
    assert many[:2] == few and len(set(many)) == 5


def test_a_draw_of_few_prompts_has_the_first_ones_of_many(tmp_path: Path) -> None:
    make_draw(tmp_path, 0, prompts=4)
    entries = load_prompt_bank(tmp_path, ("fish",)).entries
    make_draw(tmp_path / "few", 0, prompts=2)
    few = load_prompt_bank(tmp_path / "few", ("fish",)).entries
    assert [entry.text for entry in few] == [entry.text for entry in entries[:2]]
    assert len({entry.text for entry in entries}) == 4
    assert all("fish" in str(entry.text).split() for entry in entries)
    for number, entry in enumerate(entries):
        place = EntryFolder(tmp_path, entry)
        place.make()
        add_sample(place, 0, number, "refined", "pseudo_label")
    assert sorted(greys(synthetic_pairs(tmp_path, "fish", "mask", 9, 0))) == [0, 1, 2, 3]


def test_no_synthetic_pairs_is_told(tmp_path: Path) -> None:
    make_draw(tmp_path, 3, prompts=1)
    with pytest.raises(InputError, match="no fish has a mask; run the three steps on it"):
        synthetic_pairs(tmp_path, "fish", "mask", 5, seed=0)


def test_scenes_have_company_of_base_categories_alone_and_exact_masks() -> None:
    drawn = scenes("test", "fish", 3, False, "category")
    seed = FIRST_SCENES["test", False]
    plans = [random_scene(seed + at, "fish", None, False) for at in range(12)]
    kept = [
        plan
        for plan in plans
        if all(
            thing.category in BASE_CATEGORIES and not resembles_an_example(thing.look)
            for thing in plan.things[1:]
        )
    ][:3]
    for plan, pair in zip(kept, drawn, strict=True):
        rendering = render(plan)
        assert np.array_equal(pair.image, rendering.image)
        assert np.array_equal(pair.mask > 0, rendering.masks[0])
    uses = [scenes(use, "fish", 1, True, "category")[0] for use in ("test", "validation", "true")]
    assert len({pair.image.tobytes() for pair in uses}) == 3
    assert len({kind_of("fish", plan.things[0].shape_seed) for plan in plans}) > 2
    assert len(SHAPES["fish"]) == 5


def test_what_surrounds_the_pairs_is_of_base_categories() -> None:
    around = base_surroundings(6)
    assert len(around.backgrounds) == len(around.others) == 6


def test_the_gain_whole_and_continued(
    draw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: RECIPES[name] for name in ("usual", "strong_paste", "paste", "few_shot")}
    monkeypatch.setattr(measure_gain_module, "RECIPES", few)
    named = ("real", "synthetic", "true", "heatmaps", "few prompts", "real, 1 pair")
    arms = {name: ARMS[name] for name in named}
    monkeypatch.setattr(measure_gain_module, "ARMS", arms)
    size = replace(QUICK.gain, draws=1, samples=3, counts=(2,), alone=1)
    job = GainJob((draw,), (draw,), draw, size, "tiny", WEIGHTS, tmp_path / "trainings")
    first = measure_gain(job)
    assert set(first.best) == {"company", "alone"}
    assert set(first.best["company"]) == {"real", "synthetic", "true"} == set(first.networks)
    assert set(first.validation["alone"]["real"]) == set(few)
    assert {figures.arm for figures in first.told} == {"heatmaps", "real, 1 pair", "synthetic"}
    assert all(0 <= iou <= 1 for figures in first.told for iou in figures.mious["company"])
    assert [figures.samples for figures in first.curve] == [2]
    assert [figures.arm for figures in first.prompts] == ["synthetic", "few prompts"]
    picture = gain_picture(job, first)
    assert picture.dtype == np.uint8 and picture.shape[0] > 6 * TILE
    records = sorted((tmp_path / "trainings").iterdir())
    kept = {path: path.read_bytes() for path in records[1:]}
    records[0].unlink()
    assert measure_gain(job) == first
    assert sorted((tmp_path / "trainings").iterdir()) == records
    assert all(path.read_bytes() == text for path, text in kept.items())
