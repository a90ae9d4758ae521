from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import read_image, write_image
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import stored_samples
from aligndiff.dataset.support import find_pairs
from aligndiff.training.pairs import (
    ClassPairs,
    Pair,
    collect_pairs,
    fixed_episodes,
    hold_out,
    read_validation_folder,
)


def pairs(count: int, kind: str = "real") -> tuple[Pair, ...]:
    blank = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
    return tuple(Pair("dog", f"{kind}{i}", lambda: blank) for i in range(count))


def test_every_category_has_its_real_pairs_once_and_its_wanted_samples(refined_dir: Path) -> None:
    banks = [load_prompt_bank(refined_dir)]
    classes, known = collect_pairs(banks, ("real", "consensus", "pseudo_label"))
    # Two entries are of the fish and share its folder.
    counts = [(one.category, len(one.real), len(one.synthetic)) for one in classes]
    assert counts == [("fish", 3, 6), ("albatross", 3, 3)]
    consensus, known_consensus = collect_pairs(banks, ("consensus",))
    assert [len(one.synthetic) for one in consensus] == [4, 2]
    assert known_consensus["real_pairs"] == known["real_pairs"]
    assert known_consensus["synthetic_pairs"] != known["synthetic_pairs"]
    image, mask = classes[0].synthetic[0].read()
    assert image.shape == (64, 64, 3) and set(np.unique(mask)) == {0, 1}


def test_samples_on_the_list_are_left_out_and_unknown_names_told(
    refined_dir: Path, tmp_path: Path
) -> None:
    bank = load_prompt_bank(refined_dir)
    name = next(s.name for s in stored_samples(bank) if s.record.status == "refined")
    path = tmp_path / "bad.txt"
    path.write_text(f"# looked at them\n{name}\n")
    everything, known = collect_pairs([bank], ("consensus", "pseudo_label"))
    kept, known_kept = collect_pairs([bank], ("consensus", "pseudo_label"), path)
    assert sum(len(one.synthetic) for one in everything + kept) == 9 + 8
    assert known_kept["synthetic_pairs"] != known["synthetic_pairs"]
    path.write_text(f"{name}\nfish-00000000_000001\n")
    with pytest.raises(InputError, match="line 2: fish-00000000_000001: no such sample"):
        collect_pairs([bank], ("consensus",), path)


def test_one_category_of_several_folders_is_one_class(refined_dir: Path, tmp_path: Path) -> None:
    other = shutil.copytree(refined_dir, tmp_path / "other")
    photo = find_pairs(other / "fish")[0].image
    write_image(photo, 255 - read_image(photo))
    banks = [load_prompt_bank(folder) for folder in (refined_dir, other)]
    classes, _ = collect_pairs(banks, ("consensus",))
    assert [one.category for one in classes] == ["fish", "albatross"]
    # A photo that lies in both folders counts once: else one copy would validate the other.
    assert [(len(one.real), len(one.synthetic)) for one in classes] == [(4, 8), (3, 4)]


@pytest.mark.parametrize(("real", "held_out"), [(0, 0), (1, 0), (2, 1), (5, 2), (10, 3)])
def test_held_out_pairs_leave_some_to_learn_from(real: int, held_out: int) -> None:
    one = ClassPairs("dog", pairs(real), pairs(2, "made"))
    (kept,), held = hold_out([one], 0.3, seed=0)
    assert len(held.get("dog", ())) == held_out
    assert set(kept.real) | set(held.get("dog", ())) == set(one.real)
    assert len(kept.real) == real - held_out and kept.synthetic == one.synthetic
    assert hold_out([one], 0.0, seed=0) == ([one], {})


def test_trials_take_every_query_in_turn_and_never_as_its_own_support() -> None:
    queries = {"dog": pairs(3), "cat": pairs(2)}
    validation_episodes = fixed_episodes(queries, queries, shot=2, count=12, seed=0)
    assert [episode.query for episode in validation_episodes[:4]] == [
        queries["cat"][0],
        queries["dog"][0],
        queries["cat"][1],
        queries["dog"][1],
    ]
    assert all(episode.query not in episode.support for episode in validation_episodes)
    assert {len(episode.support) for episode in validation_episodes} == {
        1,
        2,
    }  # of cats there is one other
    assert validation_episodes == fixed_episodes(queries, queries, shot=2, count=12, seed=0)
    assert validation_episodes != fixed_episodes(queries, queries, shot=1, count=12, seed=0)
    one, another = (fixed_episodes(queries, queries, 1, 12, seed) for seed in (0, 1))
    assert one != another


def test_a_validation_folder_is_checked_whole(refined_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "val"
    for name in ("fish", "albatross"):
        shutil.copytree(refined_dir / name, folder / name)
    classes, known = read_validation_folder(folder)
    assert [one.category for one in classes] == ["albatross", "fish"] and known.startswith("6 (")
    (folder / "fish" / "1.png").unlink()
    (folder / "albatross" / "2.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2\.jpg: not a readable image") as caught:
        read_validation_folder(folder)
    assert len(caught.value.problems) == 2
    with pytest.raises(InputError, match="no such folder; --val_dir holds a folder of pairs per"):
        read_validation_folder(tmp_path / "nowhere")
