from __future__ import annotations

import dataclasses
import re

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from aligndiff.core.errors import printable
from aligndiff.core.files import file_fingerprint
from aligndiff.dataset.layout import EntryFolder, embedding_file
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, InversionRecord, SampleRecord
from aligndiff.dataset.samples import StoredSample
from aligndiff.export.card import _learned, _size_category, card
from aligndiff.export.config import SelectionConfig
from aligndiff.export.formats.table import FORMATS
from aligndiff.export.items import item_of_sample
from aligndiff.export.job import ExportJob, FormatChoice
from aligndiff.export.selection import Selection


def read(job: ExportJob) -> tuple[dict, str]:
    """Front matter and text of a card."""
    from huggingface_hub import DatasetCard

    text = (job.folder / "README.md").read_text(encoding="utf-8")
    card = DatasetCard(text)
    assert card.data.to_dict() == yaml.safe_load(text.split("---")[1])
    assert str(card) == text  # as whoever edits it on the Hub saves it
    return card.data.to_dict(), card.text


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, as a reader of Markdown sees them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    start = next(i for i, token in enumerate(tokens) if token.content == heading)
    rows: list[list[str]] = []
    for token in tokens[start:]:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append("".join(part.content for part in token.children or ()))
    return rows


def test_the_front_matter_names_the_splits_and_leaves_the_licence_open(exported) -> None:
    data, _ = read(exported("imagefolder"))
    assert data["license"] == "unknown"
    assert data["task_categories"] == ["image-segmentation"]
    assert data["size_categories"] == ["n<1K"]
    assert data["pretty_name"].startswith('Synthetic segmentation data: fish, Fish, a "b"/c: #1')
    assert data["configs"][0]["data_files"] == [
        {"split": "train", "path": "train/**"},
        {"split": "validation", "path": "validation/**"},
    ]
    assert read(exported("voc"))[0]["viewer"] is False


def test_the_card_counts_what_is_there(made, exported) -> None:
    job = exported("coco")
    _, text = read(job)
    head, *rows = table(text, "What is in it")
    assert head == ["class", "train", "val", "consensus", "pseudo_label", "support", "images"]
    assert [row[0] for row in rows] == [*job.categories, "all classes"]
    assert rows[0][3:] == ["2", "4", "2", "8"]
    assert rows[-1][3:] == ["6", "12", "10", "28"]
    for row in rows:
        assert int(row[1]) + int(row[2]) == int(row[-1])
    assert ["left out: rejected by step 3", "6"] in table(text, "How samples were chosen")


def test_prompts_models_and_settings_are_told_and_harmless(made, exported) -> None:
    _, text = read(exported("coco"))
    rows = table(text, "How it was made")
    assert ["fish", "another fish, [see](http://x.y) `it` <b>here</b> | a *bold* one", "3"] in [
        row[1:] for row in rows
    ]
    assert ["model", "m|n"] in table(text, "Step 2, the images")
    assert ["heatmap_threshold", "0.6"] in table(text, "Step 3, the masks")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [part for token in tokens for part in token.children or ()]
    kinds = {token.type for token in [*tokens, *inline]}
    assert not kinds & {"html_block", "html_inline", "link_open", "image"}


# What a category may hold: any character but controls and halves of others.
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1)


@settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(WORDS, min_size=1, max_size=3, unique=True))
def test_no_name_of_a_class_breaks_the_card(dataset_dir, names: list[str]) -> None:
    """Nor one that is a template, a front matter or a table of its own."""
    names += ["{{ 7 * 7 }}", "{% raw %}", "---", "- a: [b", "| c |", "<!-- d", "# e"]
    bank = load_prompt_bank(dataset_dir)
    entries = [bank.entries[0].model_copy(update={"category": name}) for name in names]
    bank = dataclasses.replace(bank, entries=tuple(entries))
    selection = Selection((), {}, SelectionConfig())
    text = card(ExportJob(bank, selection, FormatChoice(FORMATS["coco"]), dataset_dir))
    data = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    title = f"Synthetic segmentation data: {', '.join([*names, '...'][:5])}"
    assert data["pretty_name"] == title.removesuffix(", ...") + ", ..."
    rows = table(text, "What is in it")
    assert [" ".join(row[0].split()) for row in rows[1:-1]] == [
        printable(" ".join(name.split())) for name in names
    ]


def test_gaps_are_marked_and_real_photos_are_named(exported) -> None:
    text = read(exported("coco"))[1]
    assert text.count("TO FILL IN") >= 4
    assert "They are **in this dataset**" in text
    without = read(exported("coco", {}))[1]
    assert "They are not in this dataset." in without


@pytest.mark.parametrize("kept", [True, False])
def test_step_1_is_told_as_long_as_its_embedding_is_the_one_used(dataset_dir, kept: bool) -> None:
    bank = load_prompt_bank(dataset_dir)
    entry = bank.entries[1]
    place, embedding = EntryFolder(bank.root, entry), embedding_file(bank.root, entry)
    place.make()
    InversionRecord({"bg_lambda": 0.25}, "cpu", (1.0,)).write(embedding.parent)
    embedding.write_bytes(b"rows")
    settings = {"embedding": file_fingerprint(embedding)}
    if not kept:
        embedding.write_bytes(b"others")
    EntryRecord(entry.id, "NM_embedding", "fish", "p", "fish", "m", settings, "f").write(
        place.entry_json
    )
    item = item_of_sample(
        StoredSample(place, SampleRecord(0, 1, "refined", "jpg", "f", "consensus"))
    )
    choice, selection = FormatChoice(FORMATS["voc"]), Selection((item,), {}, SelectionConfig())
    job = ExportJob(bank, selection, choice, dataset_dir, written=[item])
    wanted = (
        {"bg_lambda": 0.25} if kept else {"embedding": "of fish: no longer there, or learned anew"}
    )
    assert _learned(job) == [wanted]


def test_size_categories_are_the_hubs() -> None:
    counts = (1, 999, 1000, 99_999, 100_000, 5_000_000)
    assert [_size_category(count) for count in counts] == [
        *("n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "n>1M"),
    ]


def test_the_card_is_the_same_when_made_again(exported) -> None:
    first = (exported("coco").folder / "README.md").read_bytes()
    assert (exported("coco").folder / "README.md").read_bytes() == first
    assert not re.search(rb"/tmp/|20\d\d-\d\d", first)
