"""prepare_dataset --outline on bare photos: a person draws, stops, comes back and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from aligndiff.preparation.by_hand import photos_to_draw
from tests.preparation.conftest import Outlining
from tests.preparation.made_sources import (
    ELL,
    SQUARE,
    masks_of,
    pairs_of,
    refused,
    save_mask,
    save_photo,
    snapshot,
)

ROOT = Path(__file__).resolve().parents[2]


def bits(mask: np.ndarray) -> bytes:
    return np.packbits(mask.astype(bool)).tobytes()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Two photos and nothing else; one is a PNG, whose mask cannot have its name."""
    save_photo(tmp_path / "photos" / "1.jpg", 1)
    save_photo(tmp_path / "photos" / "2.png", 2)
    return tmp_path / "photos"


@contextmanager
def command(source: Path, *options: str) -> Iterator[tuple[Outlining, subprocess.Popen[str]]]:
    """The command as it is typed, with its page open."""
    dataset = source.parent / "dataset"
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.prepare_dataset", str(source), "--category", "dog"]
        + ["--dataset_dir", str(dataset), "--outline", *options],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background ignore SIGINT, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    lines = [_line_with("http://", process.stdout), process.stdout.readline()]
    try:
        yield Outlining(dataset, lines), process
    finally:
        process.kill()
        process.communicate()


def _line_with(words: str, stream: IO[str]) -> str:
    line = next((line for line in stream if words in line), None)
    assert line is not None
    return line


def test_bare_photos_become_a_dataset_in_two_sittings(bare: Path) -> None:
    before, dataset = snapshot(bare), bare.parent / "dataset"
    with command(bare) as (page, process):
        assert page.ask("PUT", "masks/1", bits(SQUARE)) == (204, b"")
        status, problem = page.ask("PUT", "masks/0", bits(np.ones_like(ELL)))
        assert status == 409 and b"covers the whole photo" in problem
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert {*pairs_of(dataset, "dog")} == {"2"} and (dataset / "dataset.json").exists()
    with command(bare) as (page, process):
        assert [p["saved"] for p in json.loads(page.ask("GET", "session.json")[1])["photos"]] == [
            False,
            True,
        ]
        assert page.ask("GET", "masks/1") == (200, bits(SQUARE))
        for number in (0, 1):  # a new one, and a correction
            assert page.ask("PUT", f"masks/{number}", bits(ELL)) == (204, b"")
        page.ask("PUT", "done", b"")
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
    assert snapshot(bare) == before
    assert [(mask == ELL).all() for mask in masks_of(dataset, "dog")] == [True, True]
    assert (dataset / "dog" / "1.jpg").read_bytes() == (bare / "1.jpg").read_bytes()
    assert {path.name for path in (dataset / "dog").iterdir()} == {
        *("1.jpg", "1.png", "2.png", "2_mask.png")
    }
    assert (dataset / "sheets" / "0_pairs.png").exists()
    assert out.split("next:")[1].split()[:3] == ["python", "-m", "scripts.image_mask_inversion"]
    assert "without a mask" not in err


def test_only_what_has_no_mask_is_drawn_and_what_is_not_drawn_is_told(bare: Path) -> None:
    save_mask(bare / "1.png")
    save_photo(bare / "3.jpg", 3)
    with command(bare) as (page, process):
        photos = json.loads(page.ask("GET", "session.json")[1])["photos"]
        assert [photo["name"] for photo in photos] == ["2.png", "3.jpg"]
        page.ask("PUT", "masks/0", bits(SQUARE))
        page.ask("PUT", "done", b"")
        _, err = process.communicate(timeout=30)
    assert "note: 1 photo without a mask left out (3.jpg); --outline draws them" in err
    pairs = pairs_of(bare.parent / "dataset", "dog")
    assert (pairs["1"].mask == ELL).all() and (pairs["2"].mask == SQUARE).all()


def test_nothing_drawn_leaves_nothing(bare: Path) -> None:
    with command(bare) as (page, process):
        page.ask("PUT", "done", b"")
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2 and "no mask was drawn; nothing was written" in err
    assert not (bare.parent / "dataset").exists()


def test_without_the_option_bare_photos_are_told_of_it(bare: Path) -> None:
    told = refused(bare, "--category", "dog")
    assert "holds photos without a mask (1.jpg, 2.png); add --outline" in told
    assert "--outline needs the name" in refused(bare, "--outline")
    assert "one draws, the other only looks" in refused(bare, "--outline", "--list")


def test_photos_in_folders_of_their_names() -> None:
    unmarked = ["blue_whale/1.jpg", "fish/1.jpg", "fish/2.jpg"]
    assert photos_to_draw(unmarked, "fish") == unmarked[1:]
    assert photos_to_draw(unmarked, "Blue Whale") == unmarked[:1]
    assert photos_to_draw(unmarked, "dog") == unmarked
