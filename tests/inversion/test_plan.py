"""What decides an embedding: the class of its masks, and whether photos are cut or squeezed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.support import load_support
from aligndiff.inversion.plan import InversionJob, make_folder, plan_jobs


def job(root: Path, squeeze: bool = False) -> InversionJob:
    (entry,) = load_prompt_bank(root).objects
    return plan_jobs(root, entry, {"model": "tiny"}, [0.6], squeeze)[0]


def change_entries(root: Path, **keys: Any) -> None:
    bank = json.loads((root / "dataset.json").read_text())
    for entry in bank["prompt_dataset"]:
        known = {*entry, "mask_class"}  # a text has no path
        entry.update({key: value for key, value in keys.items() if key in known})
    (root / "dataset.json").write_text(json.dumps(bank))


def test_photos_that_are_not_square_are_cut_around_the_object(dataset_dir: Path) -> None:
    cut, squeezed = job(dataset_dir), job(dataset_dir, squeeze=True)
    assert cut.settings == {**squeezed.settings, "crop": True}
    square, wide, tall = load_support(dataset_dir / "fish")
    assert cut.view(square) is square and squeezed.view(wide) is wide
    for pair in (wide, tall):
        view = cut.view(pair)
        assert view.mask.shape == (64, 64)
        assert (view.mask == 1).sum() == (pair.mask == 1).sum()  # nothing of the object is lost


def test_for_square_photos_there_is_no_difference(dataset_dir: Path) -> None:
    """Embeddings that were learned before there was a choice stay up to date."""
    for stem in ("2", "3"):
        for suffix in ("jpg", "png"):
            (dataset_dir / "fish" / f"{stem}.{suffix}").unlink()
    assert job(dataset_dir).settings == job(dataset_dir, squeeze=True).settings
    assert "crop" not in job(dataset_dir).settings


def test_the_class_of_the_masks_decides(dataset_dir: Path) -> None:
    before = job(dataset_dir).settings["support"]
    for path in (dataset_dir / "fish").glob("*.png"):
        mask = np.asarray(Image.open(path)) // 255
        mask[:8, :8] = 2
        Image.fromarray(mask).save(path)
    everything = job(dataset_dir)
    change_entries(dataset_dir, mask_class="any")
    assert job(dataset_dir).settings["support"] not in (before, everything.settings["support"])


def test_pairs_elsewhere_stay_as_they_are(dataset_dir: Path, tmp_path: Path) -> None:
    """Their embedding lies in the dataset folder."""
    store = (dataset_dir / "fish").rename(tmp_path / "store")
    change_entries(dataset_dir, D_good_dir=str(store), path=str(store))
    elsewhere = job(dataset_dir)
    make_folder(elsewhere)
    assert elsewhere.folder.is_dir() and not (store / "learned_embeddings").exists()
    assert elsewhere.folder.parent == dataset_dir / "learned_embeddings"
