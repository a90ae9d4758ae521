"""The prompts of step 1: sets, files, and what is refused before a model loads."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import describe_changes
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.plan import plan_jobs
from aligndiff.inversion.templates import (
    SETS,
    TrainingTexts,
    read_templates,
    shuffled_prompts,
    templates_setting,
    training_texts,
)


def test_photo_is_the_prompt_of_the_method() -> None:
    assert training_texts("dog", vectors=1) == TrainingTexts(
        ("a photo of a <fss-token> dog",), "dog"
    )
    two = training_texts("dog", 2).prompts
    assert two == ("a photo of a <fss-token> <fss-token>_1 dog",)


def test_object_templates_hold_the_object_once_and_differ() -> None:
    templates = SETS["object"]
    assert len(set(templates)) == len(templates) > 20
    assert all(text.count("{}") == 1 for text in templates)


def test_a_file_has_a_template_a_line(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("\ufeff# mine\n\n  a  photo of a {}\nthe {} again\nthe {} again\n", "utf-8")
    assert read_templates(str(path)) == ("a photo of a {}", "the {} again")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a photo of a {}\na photo\n{} and {}\n", ["line 2: needs {} once", "line 3: needs {}"]),
        ("# nothing\n", ["is empty; write a template a line, such as 'a photo of a {}'"]),
        ("a {} at a caf\u00e9".encode("latin-1"), ["not UTF-8 text; save it as UTF-8"]),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str | bytes, problems: list[str]) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as raised:
        read_templates(str(path))
    assert len(raised.value.problems) == len(problems)
    for line, problem in zip(raised.value.problems, problems, strict=True):
        assert problem in line and str(path) in line


def test_every_prompt_comes_once_a_round() -> None:
    texts = TrainingTexts(("a", "b", "c", "d"), "dog")
    drawn = list(itertools.islice(shuffled_prompts(texts, seed=3), 40))
    rounds = [drawn[at : at + 4] for at in range(0, 40, 4)]
    assert all(sorted(own) == ["a", "b", "c", "d"] for own in rounds)
    assert len(set(map(tuple, rounds))) > 1, "in another order each time"
    assert drawn == list(itertools.islice(shuffled_prompts(texts, seed=3), 40))


def test_the_record_holds_the_texts_not_where_they_are(dataset_dir: Path) -> None:
    """A run with other templates learns again; with the method's the record is as before."""
    own = dataset_dir / "own.txt"
    own.write_text("a photo of a {}\na picture of a {}\n")
    assert templates_setting("photo") == {}
    setting = templates_setting(str(own))
    assert setting == {"templates": ["a photo of a {}", "a picture of a {}"]}

    bank, config = load_prompt_bank(dataset_dir), InversionConfig()
    recipe = config.recipe("m", "auto")
    assert "templates" not in recipe
    (job,) = plan_jobs(bank.root, bank.objects[0], recipe | setting, config.bg_lambda)
    assert job.texts.prompts == (
        "a photo of a <fss-token> fish",
        "a picture of a <fss-token> fish",
    )


def test_records_of_the_method_are_those_from_before() -> None:
    """Embeddings that were learned before there were these options are the method's still."""
    assert InversionConfig().recipe("m", "auto")["augment"] == ["flip", "scale"]
    recipe = InversionConfig(augment=("flip",)).recipe("m", "auto")
    assert recipe == {
        **{"inversion_steps": 500, "inversion_lr": 5e-4, "inversion_train_bs": 4, "vectors": 1},
        **{"gradient_accumulation": 2, "initializer": "good", "resolution": None, "seed": 0},
        **{"diffusion_model": "m", "precision": "auto"},
    }
    other = InversionConfig(
        augment=("crop", "flip"), inversion="direction", attention_loss=0.1, patience=5
    ).recipe("m", "auto")
    assert other["augment"] == ["flip", "crop"], "in whatever order"
    assert other["inversion_lr"] == 0.01
    assert (other["inversion"], other["attention_loss"], other["patience"]) == ("direction", 0.1, 5)


@pytest.mark.parametrize(
    ("words", "recorded"),
    [(("good",), "good"), (("good", "good"), "good"), (("a", "on"), ["a", "on"])],
)
def test_initializers_in_the_record(words: tuple[str, ...], recorded: object) -> None:
    config = InversionConfig(vectors=2, initializer=words)
    assert config.recipe("m", "auto")["initializer"] == recorded


@pytest.mark.parametrize("words", [("a", "on", "of"), ("a", " "), ()])
def test_too_few_or_many_initializers(words: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="--initializer: takes one word, or 2, one for each"):
        InversionConfig(vectors=2, initializer=words)


def test_changed_templates_are_told() -> None:
    """All of their texts would fill the line."""
    assert describe_changes({}, {"templates": ["a {}"]}) == "the templates changed"
