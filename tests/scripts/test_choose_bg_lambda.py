"""Step 1 chooses among the values of --bg_lambda, on a real tiny pipeline and a real segmenter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import read_image
from aligndiff.inversion.choice import pick
from aligndiff.render.canvas import GREEN

FEW = ("--sheet_samples", "1", "--choose_samples", "2", "--fss_ckpt_path", "tiny")
CHOOSE = ("--bg_lambda", "0.2", "1.0", "--choose", *FEW)
FISH, BIRD = Path("fish", "learned_embeddings"), Path("albatross", "learned_embeddings")


def made(root: Path) -> dict[str, bytes]:
    """Every file of the embeddings and of the sheets, by its path."""
    files = [*root.rglob("learned_embeddings/**/*"), *root.glob("sheets/*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.is_file()}


def test_the_best_is_taken_and_it_is_said_why(
    start: Any, dataset_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("--categories", "fish", *CHOOSE) == 0
    told = capsys.readouterr().out
    own = dataset_dir / FISH
    choice = json.loads((own / "choice.json").read_text())
    scores = {given["bg_lambda"]: given["score"] for given in choice["judged"]}
    assert choice["bg_lambda"] == pick(scores)
    best = own / f"bg_lambda_{choice['bg_lambda']:g}"
    for name in ("learned_embeds.safetensors", "inversion.json"):
        assert (own / name).read_bytes() == (best / name).read_bytes()
    assert choice["why"] in told and "to pick:" not in told
    table = (own / "choice.md").read_text()
    assert f"| {choice['bg_lambda']:g} (chosen) |" in table and table.count("(chosen)") == 1
    sheet = read_image(dataset_dir / "sheets" / "1_inversion.png")
    # Frames are 192 px wide: the right one ends 28 px before the edge, and begins at -220.
    left, right = (sheet[:, part] for part in np.split(np.arange(sheet.shape[1]), [-228]))
    green = [bool((part == GREEN).all(-1).sum() > 192) for part in (left, right)]
    assert green == [choice["bg_lambda"] == 0.2, choice["bg_lambda"] == 1.0]

    before = made(dataset_dir)
    assert start("--categories", "fish", *CHOOSE) == 0  # nothing is learned or judged again
    assert made(dataset_dir) == before


def test_what_is_judged_and_learned_already_is_not_again(
    start: Any, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that was learned before; a run that was stopped between judging and taking."""
    assert start("--categories", "fish", "--bg_lambda", "0.2", "1.0", "--no_sheet") == 0
    assert not (dataset_dir / FISH / "learned_embeds.safetensors").exists()

    def learned(*_: Any) -> None:
        raise AssertionError("learned again")

    monkeypatch.setattr("aligndiff.inversion.learn.learn_vectors", learned)
    assert start("--categories", "fish", *CHOOSE, "--no_sheet") == 0
    before = made(dataset_dir)
    for name in ("learned_embeds.safetensors", "choice.json"):
        (dataset_dir / FISH / name).unlink()
    monkeypatch.setattr("aligndiff.diffusion.pretrained.load_pipeline", learned)
    assert start("--categories", "fish", *CHOOSE, "--no_sheet") == 0
    assert made(dataset_dir) == before


def test_processes_choose_what_one_process_chooses(
    start: Any, dataset_dir: Path, torchrun: Callable[[int, int], None]
) -> None:
    assert start(*CHOOSE, "--workers", "2") == 0
    shared = made(dataset_dir)
    assert {str(FISH / "choice.json"), str(BIRD / "choice.json")} <= set(shared)
    assert start(*CHOOSE, "--overwrite") == 0
    assert made(dataset_dir) == shared
    torchrun(1, 2)
    assert start(*CHOOSE, "--overwrite") == 0
    assert made(dataset_dir) == shared


def test_an_embedding_of_no_value_is_not_replaced_unasked(start: Any, dataset_dir: Path) -> None:
    assert start("--categories", "fish", "--no_sheet", "--seed", "7") == 0
    before = made(dataset_dir)
    with pytest.raises(InputError, match="is of none of the values that are chosen from"):
        start("--categories", "fish", "--no_sheet", *CHOOSE)
    assert made(dataset_dir) == before
    assert start("--categories", "fish", "--no_sheet", "--overwrite", *CHOOSE) == 0
    assert (dataset_dir / FISH / "choice.json").exists()
    another = ("--categories", "fish", "--no_sheet", "--overwrite", "--bg_lambda", "0.7")
    assert start(*another) == 0
    assert not (dataset_dir / FISH / "choice.json").exists()  # it is chosen no more


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--choose",), "--choose: needs several values of --bg_lambda to choose from"),
        (("--bg_lambda", "auto", "0.6"), "--bg_lambda: auto stands alone"),
        (("--bg_lambda", "automatic"), "must be a finite number, not 'automatic' \\(or auto\\)"),
        (("--bg_lambda", "auto", "--fss_ckpt_path", "none.pth"), "none.pth"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(
    start: Any, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], problem: str
) -> None:
    monkeypatch.setattr("aligndiff.diffusion.pretrained.load_pipeline", None)
    with pytest.raises(InputError, match=problem):
        start(*options)
