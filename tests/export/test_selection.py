from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import stored_samples
from aligndiff.export.config import SelectionConfig
from aligndiff.export.formats.fss1000 import Fss1000Options
from aligndiff.export.formats.voc import VocOptions
from aligndiff.export.formats.webdataset import WebdatasetOptions
from aligndiff.export.selection import Selection, hash_of, select


@pytest.fixture
def chosen(made):
    def choose(root: Path = made.root, **options: Any) -> Selection:
        return select(load_prompt_bank(root), SelectionConfig(**{"val_fraction": 0.0} | options))

    return choose


def names(selection: Selection) -> list[str]:
    return [item.name for item in selection.items]


def test_all_refined_samples_are_taken_in_order(made, chosen) -> None:
    selection = chosen()
    assert names(selection) == list(made.masks)
    assert selection.left_out == {"rejected by step 3": 6}


def test_sources_are_masks_of_a_kind(chosen) -> None:
    assert names(chosen(sources=("pseudo_label", "consensus"))) == names(chosen())
    only = chosen(sources=("consensus",))
    assert {item.source for item in only.items} == {"consensus"}
    assert only.left_out == {"rejected by step 3": 6, "--sources": 12}


def test_min_iou_and_categories(chosen) -> None:
    selection = chosen(min_iou=0.5, categories=("fish", "魚"))
    assert {item.iou for item in selection.items} == {0.5, 0.9}
    assert [item.category for item in selection.items] == ["fish"] * 2 + ["魚"] * 2 + ["fish"] * 2
    assert selection.left_out == {"--min_iou": 3, "rejected by step 3": 3}


def test_area_limits_are_parts_of_the_image(made, chosen) -> None:
    areas = {name: mask.mean() for name, mask in made.masks.items()}
    middle = sorted(areas.values())[9]
    large = chosen(min_area=middle)
    assert names(large) == [name for name in areas if areas[name] >= middle]
    assert large.left_out["--min_area"] == sum(area < middle for area in areas.values())
    assert names(chosen(max_area=middle)) == [name for name in areas if areas[name] <= middle]


def test_the_surest_of_each_category_stay(chosen) -> None:
    selection = chosen(max_per_class=3, include_support=True)
    fish = [item for item in selection.items if item.category == "fish"]
    assert sorted(item.iou for item in fish if item.iou is not None) == [0.5, 0.9, 0.9]
    assert sum(item.source == "support" for item in fish) == 2  # not counted
    assert selection.left_out["--max_per_class"] == 3  # of fish alone, which has two entries
    pair = chosen(max_per_class=1, categories=("fish",))
    assert names(pair) == [min(item.name for item in fish if item.iou == 0.9)]


def test_adding_samples_moves_none_between_the_splits(chosen) -> None:
    few, many = chosen(val_fraction=0.4, max_per_class=2), chosen(val_fraction=0.4)
    both = {item.name: many.split(item) for item in many.items}
    assert {"train", "val"} == set(both.values())
    assert {item.name: few.split(item) for item in few.items}.items() <= both.items()


def test_a_larger_val_fraction_only_adds_and_a_seed_draws_anew(chosen) -> None:
    def val(**options: Any) -> set[str]:
        selection = chosen(**options)
        return {item.name for item in selection.items if selection.split(item) == "val"}

    assert val(val_fraction=0.2) < val(val_fraction=0.5)
    assert val(val_fraction=0.5) == val(val_fraction=0.5)
    assert val(val_fraction=0.5) != val(val_fraction=0.5, seed=1)


def test_the_split_comes_near_the_fraction() -> None:
    part = sum(hash_of(f"fish-1a2b3c4d_{n:06d}", 0) < 0.1 * 2**64 for n in range(5000)) / 5000
    assert part == pytest.approx(0.1, abs=0.02)


def test_excluded_samples_and_pairs_are_left_out(made, chosen, tmp_path: Path) -> None:
    pair = next(item.name for item in chosen(include_support=True).items if item.iou is None)
    first, *rest = made.masks
    listed = tmp_path / "bad.txt"
    listed.write_bytes(f"\ufeff# bad ones\r\n\r\n{first}\r\n{pair}\n{first}\n".encode())
    selection = chosen(exclude=listed, include_support=True)
    assert first not in names(selection) and pair not in names(selection)
    assert names(selection)[: len(rest)] == rest
    assert selection.left_out["--exclude"] == 1
    # A list may name samples of other categories, and rejected ones.
    listed.write_text(f"{first}\n{first.replace('_000000', '_000003')}\n")
    assert names(chosen(exclude=listed, categories=("魚",)))


def test_unknown_names_in_the_list_are_told_with_their_lines(chosen, tmp_path: Path) -> None:
    listed = tmp_path / "bad.txt"
    listed.write_text("\nfish-00000000_000001\nnot a name\n")
    with pytest.raises(InputError) as error:
        chosen(exclude=listed)
    assert [line.removeprefix(f"{listed}: ") for line in error.value.problems] == [
        "line 2: fish-00000000_000001: no such sample in this dataset; remove the line",
        "line 3: not a name: no such sample in this dataset; remove the line",
    ]
    with pytest.raises(InputError, match="none.txt: no such file"):
        chosen(exclude=tmp_path / "none.txt")


def test_nothing_left_says_why(chosen, dataset_dir: Path) -> None:
    with pytest.raises(InputError, match=r"no sample is left \(18 --min_iou, 6 rejected"):
        chosen(min_iou=0.95)
    with pytest.raises(InputError, match="there are no samples; run steps 2 and 3 first"):
        chosen(dataset_dir)
    with pytest.raises(InputError, match="all samples fall to the validation split .6 of them"):
        chosen(sources=("consensus",), val_fraction=0.9999, include_support=True)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"sources": ("consensus", "guess")},
            "--sources: must be one of consensus, pseudo_label, scene, is guess",
        ),
        ({"min_iou": 1.5}, "--min_iou: must be 0 to 1, is 1.5"),
        ({"min_area": 0.5, "max_area": 0.2}, "--min_area 0.5 is above --max_area 0.2"),
        ({"max_per_class": 0}, "--max_per_class: must be 1 or more, is 0"),
        ({"val_fraction": 1.0}, "--val_fraction: must be 0 to below 1, is 1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        SelectionConfig(**options)


@pytest.mark.parametrize(
    ("kind", "option", "problem"),
    [
        (VocOptions, {"void_width": 2.0}, "--void_width: must be 0 to 1, is 2"),
        (Fss1000Options, {"side": 1}, "--side: must be 8 to 4096 px, is 1"),
        (WebdatasetOptions, {"shard_size": 0}, "--shard_size: must be 1 to 1000000, is 0"),
    ],
)
def test_options_of_formats_are_checked(kind: type, option: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        kind(**option)


def test_the_least_score_leaves_out_what_is_less_sure(refined_dir):
    bank = load_prompt_bank(refined_dir)
    sample = next(s for s in stored_samples(bank) if s.record.status == "refined")
    replace(sample.record, score=0.9).write(sample.place.record_path(sample.record.index))
    chosen = select(bank, SelectionConfig(min_score=0.8, val_fraction=0))
    assert [item.name for item in chosen.items] == [sample.name]
    assert chosen.left_out["--min_score"] > 0 and chosen.items[0].facts()["score"] == 0.9


def test_the_least_likeness_leaves_out_what_looks_otherwise(refined_dir):
    bank = load_prompt_bank(refined_dir)
    sample = next(s for s in stored_samples(bank) if s.record.status == "refined")
    before = select(bank, SelectionConfig(val_fraction=0)).items[0]
    replace(sample.record, likeness=0.5).write(sample.place.record_path(sample.record.index))
    chosen = select(bank, SelectionConfig(min_likeness=0.4, val_fraction=0))
    assert [item.name for item in chosen.items] == [sample.name]
    assert chosen.left_out["--min_likeness"] > 0 and chosen.items[0].facts()["likeness"] == 0.5
    assert before.name == sample.name and before.identity != chosen.items[0].identity
