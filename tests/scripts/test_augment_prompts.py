"""The script that adds texts, as a user runs it: again, after edits, by mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import read_image
from aligndiff.dataset.prompt_bank import load_prompt_bank
from scripts import augment_prompts


def run(root: Path, *options: str) -> int:
    words = ["--dataset_dir", str(root), "--compare_by", "letters", "--diffusion_model", "tiny"]
    return augment_prompts.main([*words, *options])


def entries(root: Path) -> list[dict[str, Any]]:
    return json.loads((root / "dataset.json").read_text())["prompt_dataset"]


def written(root: Path, category: str) -> list[dict[str, Any]]:
    return [e for e in entries(root) if e["category"] == category and "source" in e]


def test_templates_join_the_bank_beside_what_is_there(dataset_dir: Path, capsys) -> None:
    before = entries(dataset_dir)
    assert run(dataset_dir, "--count", "5") == 0
    after = entries(dataset_dir)
    assert [entry for entry in after if "source" not in entry] == before
    fish, albatross = written(dataset_dir, "fish"), written(dataset_dir, "albatross")
    # The fish has a learned look, the albatross has none.
    assert {entry["type"] for entry in fish} == {"NM_embedding"}
    assert {entry["type"] for entry in albatross} == {"text"}
    assert len(fish) == len(albatross) == 5
    assert {entry["source"] for entry in fish} == {"templates"}
    file = (dataset_dir / "prompts" / "fish.txt").read_text()
    assert [line for line in file.splitlines() if "a fish" in line or "of a" in line] == [
        entry["text"] for entry in fish
    ]
    bank = load_prompt_bank(dataset_dir)
    assert len({entry.id for entry in bank.entries}) == len(before) + 10
    assert json.loads((dataset_dir / "dataset.json.bak").read_text())["prompt_dataset"] == before
    told = capsys.readouterr().out
    assert "dataset.json.bak" in told and "spread" in told


def test_the_learned_word_stands_before_the_category_in_the_text(dataset_dir: Path) -> None:
    run(dataset_dir, "--count", "3", "--categories", "fish")
    bank = load_prompt_bank(dataset_dir, ["fish"])
    for entry in bank.entries[2:]:
        assert entry.text is not None
        assert entry.prompt(["<fss-token>"]) == entry.text.replace("fish", "<fss-token> fish", 1)
    # Step 1 learns one object, with its plain prompt.
    (learned,) = bank.objects
    assert learned.prompt(["<fss-token>"]) == "a photo of a <fss-token> fish"


def test_a_second_run_adds_nothing_and_a_larger_count_adds_the_rest(dataset_dir: Path) -> None:
    run(dataset_dir, "--count", "4")
    first = entries(dataset_dir)
    run(dataset_dir, "--count", "4")
    assert entries(dataset_dir) == first
    run(dataset_dir, "--count", "7")
    assert len(written(dataset_dir, "fish")) == 7
    assert all(entry in entries(dataset_dir) for entry in first)


def test_an_edited_file_decides_what_the_bank_holds(dataset_dir: Path, capsys) -> None:
    run(dataset_dir, "--count", "4", "--categories", "fish")
    by_hand = [entry for entry in entries(dataset_dir) if "source" not in entry]
    file = dataset_dir / "prompts" / "fish.txt"
    texts = [entry["text"] for entry in written(dataset_dir, "fish")]
    content = file.read_text().replace(texts[0], f"# {texts[0]}").replace(texts[1] + "\n", "")
    file.write_text(content.replace("[templates]", "a fish of my own words\n\n[templates]"))
    run(dataset_dir, "--count", "0", "--categories", "fish")
    now = {entry["text"]: entry["source"] for entry in written(dataset_dir, "fish")}
    assert now == {
        "a fish of my own words": "hand",
        texts[2]: "templates",
        texts[3]: "templates",
    }
    assert [entry for entry in entries(dataset_dir) if "source" not in entry] == by_hand
    # What was commented out is not proposed again; the comment stays.
    run(dataset_dir, "--count", "6", "--categories", "fish")
    assert texts[0] not in {entry["text"] for entry in written(dataset_dir, "fish")}
    assert f"# {texts[0]}" in file.read_text().splitlines()


def test_a_lost_file_is_made_again_from_the_bank(dataset_dir: Path) -> None:
    run(dataset_dir, "--count", "4")
    before, file = entries(dataset_dir), dataset_dir / "prompts" / "fish.txt"
    content = file.read_text()
    file.unlink()
    run(dataset_dir, "--count", "0")
    assert (entries(dataset_dir), file.read_text()) == (before, content)


def test_a_dry_run_writes_nothing(dataset_dir: Path, capsys) -> None:
    before = sorted(dataset_dir.rglob("*"))
    content = (dataset_dir / "dataset.json").read_bytes()
    assert run(dataset_dir, "--count", "3", "--dry_run") == 0
    assert sorted(dataset_dir.rglob("*")) == before
    assert (dataset_dir / "dataset.json").read_bytes() == content
    lines = capsys.readouterr().out.splitlines()
    assert (
        len([line for line in lines if line.startswith("  a") and "fish" in line]) == 3
    )  # a line each
    assert run(dataset_dir, "--report", "--dry_run") == 0
    assert sorted(dataset_dir.rglob("*")) == before


def test_keys_of_the_entries_are_handed_on(dataset_dir: Path) -> None:
    path = dataset_dir / "dataset.json"
    content = json.loads(path.read_text())
    for entry in content["prompt_dataset"]:
        entry |= {"negative_prompt": "blur", "definition": "a bird or a fish"}
    path.write_text(json.dumps(content))
    run(dataset_dir, "--count", "2", "--entry_types", "both", "--categories", "fish")
    new = written(dataset_dir, "fish")
    assert [entry["type"] for entry in new] == ["NM_embedding", "text"] * 2
    assert {entry["negative_prompt"] for entry in new} == {"blur"}


@pytest.mark.parametrize(("types", "new"), [("text", ["text"]), ("both", ["NM_embedding", "text"])])
def test_a_class_without_text_entries_gets_plain_ones_where_asked(
    dataset_dir: Path, types: str, new: list[str]
) -> None:
    path = dataset_dir / "dataset.json"
    content = json.loads(path.read_text())
    content["prompt_dataset"] = [e for e in entries(dataset_dir) if e["type"] == "NM_embedding"]
    path.write_text(json.dumps(content))
    run(dataset_dir, "--count", "2", "--entry_types", types, "--categories", "fish")
    assert [entry["type"] for entry in written(dataset_dir, "fish")] == new * 2
    load_prompt_bank(dataset_dir)  # "both" wrote the same entry twice


def test_categories_that_differ_by_a_hyphen_have_a_file_each(dataset_dir: Path) -> None:
    path = dataset_dir / "dataset.json"
    content = json.loads(path.read_text())
    plain = {"type": "text", "D_good_dir": "fish"}
    for category in ("hot dog", "hot-dog"):
        content["prompt_dataset"].append(plain | {"category": category, "text": f"a {category}"})
    path.write_text(json.dumps(content))
    run(dataset_dir, "--count", "2")
    before = entries(dataset_dir)
    run(dataset_dir, "--count", "0")
    assert entries(dataset_dir) == before
    assert {len(written(dataset_dir, name)) for name in ("hot dog", "hot-dog")} == {2}


def test_the_report_is_of_the_categories_asked_for(dataset_dir: Path) -> None:
    run(dataset_dir, "--report", "--categories", "fish")
    report = json.loads((dataset_dir / "prompts" / "report.json").read_text())
    assert set(report["classes"]) == {"fish"}
    with pytest.raises(InputError, match='no category "fihs"'):
        run(dataset_dir, "--report", "--categories", "fihs")


def test_the_report_counts_sources_and_draws_the_spread(dataset_dir: Path, capsys) -> None:
    run(dataset_dir, "--count", "5")
    before = (dataset_dir / "dataset.json").read_bytes()
    assert run(dataset_dir, "--report") == 0
    report = json.loads((dataset_dir / "prompts" / "report.json").read_text())
    fish = report["classes"]["fish"]
    assert fish["texts"] == {"hand": 1, "templates": 5}
    assert 0 < fish["spread"] < 1
    assert fish["spread_of_first"]["6"] == fish["spread"]
    assert read_image(dataset_dir / "prompts" / "report.png").shape == (380, 680, 3)
    assert (dataset_dir / "dataset.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--count", "-1"], "--count: must be 0 to 10000, is -1"),
        (["--categories", "fihs"], 'no category "fihs" (did you mean "fish"?)'),
        (["--by_meaning"], "--by_meaning: needs files of captions"),
        (["--kind", "beast"], "argument --kind: invalid choice: 'beast'"),
        (
            ["--entry_types", "NM_embedding"],
            '--entry_types NM_embedding: "albatross" has no entry of this type',
        ),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    dataset_dir: Path, options: list[str], line: str
) -> None:
    before = sorted(dataset_dir.rglob("*"))
    with pytest.raises(InputError) as error:
        run(dataset_dir, *options)
    assert len(error.value.problems) == 1 and line in error.value.problems[0]
    assert sorted(dataset_dir.rglob("*")) == before


def test_a_line_of_the_file_that_cannot_be_used_is_named(dataset_dir: Path) -> None:
    run(dataset_dir, "--count", "1", "--categories", "fish")
    file = dataset_dir / "prompts" / "fish.txt"
    file.write_text(file.read_text() + "a dolphin at sea\n")
    with pytest.raises(InputError, match='prompts/fish.txt: "a dolphin at sea" cannot be used: wi'):
        run(dataset_dir, "--count", "0")


def test_two_definitions_of_a_category_are_refused(dataset_dir: Path) -> None:
    path = dataset_dir / "dataset.json"
    content = json.loads(path.read_text())
    for number, entry in enumerate(content["prompt_dataset"]):
        entry["definition"] = f"meaning {number}"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match='"fish" has two definitions, "meaning 0" and "meaning 1"'):
        run(dataset_dir)
