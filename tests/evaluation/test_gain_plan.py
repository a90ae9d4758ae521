from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.evaluation.support_gain import plan_gain
from tests.refined_samples import add_refined_samples, draw_test_pairs

BOTH, TYPES = ("consensus", "pseudo_label"), ("text", "NM_embedding")


def test_a_class_has_its_real_pairs_its_refined_samples_and_its_test_pairs(
    dataset_dir: Path, tmp_path: Path
) -> None:
    add_refined_samples(dataset_dir, 2)
    draw_test_pairs(tmp_path / "tests", ("fish", "albatross"), 3)
    bank = load_prompt_bank(dataset_dir)
    fish, albatross = plan_gain(bank, tmp_path / "tests", BOTH, TYPES)
    assert [(t.category, len(t.real), len(t.samples), len(t.tests)) for t in (fish, albatross)] == [
        ("fish", 3, 4, 3),
        ("albatross", 3, 2, 3),
    ]
    assert fish.side == 64
    bad = tmp_path / "bad.txt"
    bad.write_text(f"{fish.samples[0].name}\n")
    fewer, _ = plan_gain(bank, tmp_path / "tests", BOTH, TYPES, bad)
    assert fewer.samples == fish.samples[1:]
    pair = fish.load(fish.real[1])  # 64 x 80 px
    assert pair.image.shape == (51, 64, 3) and pair.mask.shape == (51, 64)


def test_samples_are_chosen_by_source_and_by_the_prompts_type(
    dataset_dir: Path, tmp_path: Path
) -> None:
    add_refined_samples(dataset_dir, 2)  # consensus, pseudo_label and a rejected one in each entry
    draw_test_pairs(tmp_path / "tests", ("fish",), 1)
    bank = load_prompt_bank(dataset_dir, ("fish",))

    def chosen(sources: tuple[str, ...], types: tuple[str, ...]) -> list[tuple[str, str | None]]:
        (task,) = plan_gain(bank, tmp_path / "tests", sources, types)
        return [(sample.place.entry.type, sample.record.mask_source) for sample in task.samples]

    assert chosen(("consensus",), TYPES) == [("text", "consensus"), ("NM_embedding", "consensus")]
    assert chosen(BOTH, ("text",)) == [("text", "consensus"), ("text", "pseudo_label")]


def test_all_that_lacks_is_told_at_once(dataset_dir: Path, tmp_path: Path) -> None:
    draw_test_pairs(tmp_path / "tests", ("fish",), 1)
    bank = load_prompt_bank(dataset_dir)
    with pytest.raises(InputError) as error:
        plan_gain(bank, tmp_path / "tests", BOTH, TYPES)
    fish, albatross = error.value.problems
    assert "no fish has a mask of the wanted kind; run the three steps, or" in fish
    assert "tests/albatross: no such folder; put the test pairs of this class there" in albatross
    with pytest.raises(InputError, match="nowhere: no such folder; --test_dir holds a folder of"):
        plan_gain(bank, tmp_path / "nowhere", BOTH, TYPES)


def test_a_test_image_that_is_support_too_is_refused(dataset_dir: Path, tmp_path: Path) -> None:
    add_refined_samples(dataset_dir, 1)
    draw_test_pairs(tmp_path / "tests", ("fish",), 1)
    for kind in ("jpg", "png"):
        shutil.copy(dataset_dir / "fish" / f"2.{kind}", tmp_path / "tests" / "fish" / f"9.{kind}")
    bank = load_prompt_bank(dataset_dir, ("fish",))
    with pytest.raises(InputError, match=r"fish/9.jpg: is support as well .*fish/2.jpg\); test on"):
        plan_gain(bank, tmp_path / "tests", BOTH, TYPES)
