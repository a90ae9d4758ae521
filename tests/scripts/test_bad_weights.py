"""Weights, embeddings and records that are no such thing are refused; none of them can run code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from aligndiff.dataset.entries import PLACEHOLDER
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.segmenters.ssp.network import SSP, SSPConfig
from scripts import diffuse_img_attention, image_mask_inversion, mask_generation
from tests.scripts.conftest import Refused

Spoil = Callable[[Path], object]
GOOD = {PLACEHOLDER: np.zeros((1, 32), np.float32)}  # the width of the tiny pipeline


class Evil:
    """Unpickling this makes a file: proof that its code ran."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.proof),)


def test_the_evil_pickle_is_one(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def rows(array: np.ndarray) -> bytes:
    return save({PLACEHOLDER: array})


def header(**tensor: Any) -> bytes:
    """A safetensors file of one tensor, by hand."""
    text = json.dumps({PLACEHOLDER: tensor}).encode()
    return len(text).to_bytes(8, "little") + text


SAFETENSORS = "not a readable safetensors file"
FINITE = "not 1 to 16 vectors of finite numbers"
EMBEDDINGS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", SAFETENSORS),
    "text": (b"hello", SAFETENSORS),
    "a pickle": (pickle.dumps(GOOD), SAFETENSORS),
    "cut in its header": (save(GOOD)[:30], SAFETENSORS),
    "cut in its data": (save(GOOD)[:-8], SAFETENSORS),
    "a header of exabytes": (b"\xff" * 8 + b"{}", SAFETENSORS),
    "data beyond its end": (
        header(dtype="F32", shape=[1, 32], data_offsets=[0, 2**40]), SAFETENSORS),
    "data of another size": (
        header(dtype="F32", shape=[2**40, 32], data_offsets=[0, 0]), SAFETENSORS),
    "another name": (save({"a\nb": GOOD[PLACEHOLDER]}), "holds a b, not the vectors of one token"),
    "no rows": (rows(np.zeros((0, 32), np.float32)), FINITE),
    "no width": (rows(np.zeros((1, 0), np.float32)), FINITE),
    "three axes": (rows(np.zeros((1, 1, 32), np.float32)), FINITE),
    "too many rows": (rows(np.zeros((77, 32), np.float32)), FINITE),
    "integers": (rows(np.zeros((1, 32), np.int64)), FINITE),
    "not a number": (rows(np.full((1, 32), np.nan, np.float32)), FINITE),
    "infinite": (rows(np.full((1, 32), np.inf, np.float32)), FINITE),
    "of another model": (rows(np.zeros((1, 768), np.float32)), "its vectors hold 768 numbers"),
}  # fmt: skip


@pytest.mark.parametrize("what", EMBEDDINGS)
@pytest.mark.parametrize("more", [(), ("--overwrite",)], ids=["", "overwrite"])
def test_embeddings(
    what: str, more: tuple[str, ...], dataset_dir: Path, tiny_pipeline_dir: Path, refused: Refused
) -> None:
    content, problem = EMBEDDINGS[what]
    path = dataset_dir / "fish" / "learned_embeddings" / "learned_embeds.safetensors"
    path.parent.mkdir()
    path.write_bytes(content)
    options = ("--diffusion_model", str(tiny_pipeline_dir), *more)
    (line,) = refused(diffuse_img_attention, dataset_dir, *options)
    assert line.startswith(f"{path}: ") and problem in line
    assert "learn it again with python -m scripts.image_mask_inversion --overwrite" in line


def test_an_embedding_that_would_run_code(
    dataset_dir: Path, tmp_path: Path, tiny_pipeline_dir: Path, refused: Refused
) -> None:
    path = dataset_dir / "fish" / "learned_embeddings" / "learned_embeds.safetensors"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps({PLACEHOLDER: Evil(tmp_path / "ran")}))
    (line,) = refused(
        diffuse_img_attention, dataset_dir, "--diffusion_model", str(tiny_pipeline_dir)
    )
    assert SAFETENSORS in line and not (tmp_path / "ran").exists()


def small_ssp() -> dict[str, torch.Tensor]:
    return SSP(SSPConfig(width=2, blocks=(1, 1, 1))).state_dict()


def changed(**tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    return small_ssp() | {name.replace("__", "."): value for name, value in tensors.items()}


STEM = "layer0__0__0__weight"
CHECKPOINTS: dict[str, tuple[object, str]] = {
    "code": (Evil, "it holds "),
    "code among tensors": ({"a": Evil}, "it holds "),
    "a list": ([1, 2], "no plain table of tensors"),
    "numbers as names": ({1: torch.zeros(1)}, "no plain table of tensors"),
    "two networks": ({"model": small_ssp(), "net": small_ssp()}, "holds tensors as model and net"),
    "a wrapped text": ({"state_dict": {"a": "text"}}, "no plain table of tensors"),
    "no tensors": ({}, "not an SSP checkpoint"),
    "another network": ({"conv.weight": torch.zeros(3)}, "not an SSP checkpoint"),
    "a missing tensor": (dict(list(small_ssp().items())[:-1]), "1 missing"),
    "one too many": (changed(extra=torch.zeros(1)), "1 unexpected (extra)"),
    "a wrong shape": (changed(**{STEM: torch.zeros(4, 3, 3, 3)}), "of the wrong shape"),
    "no width": (changed(**{STEM: torch.zeros(0, 3, 3, 3)}), "not an SSP checkpoint"),
    "not a number": (changed(**{STEM: torch.full((2, 3, 3, 3), float("nan"))}), "not of finite"),
    "infinite": (changed(**{STEM: torch.full((2, 3, 3, 3), float("inf"))}), "not of finite"),
    "complex": (changed(**{STEM: torch.zeros(2, 3, 3, 3, dtype=torch.cfloat)}), "not of finite"),
    "sparse": (changed(**{STEM: torch.zeros(2, 3, 3, 3).to_sparse()}), "not of finite"),
}


@pytest.fixture
def synthesized(dataset_dir: Path) -> Path:
    """A dataset of one entry with the records of one sample, as step 2 leaves them."""
    return add_records(dataset_dir)


def add_records(root: Path, **changes: Any) -> Path:
    bank = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({"prompt_dataset": bank["prompt_dataset"][:1]}))
    (entry,) = load_prompt_bank(root).entries
    place = EntryFolder(root, entry)
    for name in ("samples", "generated_images", "attention_masks"):
        (place.folder / name).mkdir(parents=True, exist_ok=True)
    about = {"entry_id": entry.id, "type": "text", "category": "fish", "prompt": "", "model": ""}
    more = {"support_dir": "fish", "settings": {}, "fingerprint": "made"}
    place.entry_json.write_text(json.dumps({**about, **more}))
    sample = {"index": 0, "seed": 1, "status": "synthesized", "image_format": "jpg"}
    record = {**sample, "fingerprint": "made", **changes}
    place.record_path(0).write_text(json.dumps(record))
    return root


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_checkpoints(what: str, synthesized: Path, tmp_path: Path, refused: Refused) -> None:
    content, problem = CHECKPOINTS[what]
    proof = tmp_path / "ran"
    if content is Evil:
        content = Evil(proof)
    elif isinstance(content, dict) and Evil in content.values():
        content = {**small_ssp(), "a": Evil(proof)}
    torch.save(content, tmp_path / "x.pth")
    options = ("--fss_ckpt_path", str(tmp_path / "x.pth"), "--device", "cpu")
    (line,) = refused(mask_generation, synthesized, *options)
    assert not proof.exists()
    assert line.startswith(f"{tmp_path}/x.pth: ") and problem in line
    assert "docs/PREPARE.md says where to get a good one" in line


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.bin", "x", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(99), pickle.dumps([1])])
def test_files_that_are_no_checkpoint(
    name: str, content: bytes, synthesized: Path, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / name).write_bytes(content)
    (line,) = refused(mask_generation, synthesized, "--fss_ckpt_path", str(tmp_path / name))
    assert line.startswith(f"{tmp_path / name}: ") and "where to get a good one" in line


def test_a_plain_pickle_that_would_run_code(
    synthesized: Path, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    (line,) = refused(mask_generation, synthesized, "--fss_ckpt_path", str(tmp_path / "x.pth"))
    assert "refused: it holds no PyTorch checkpoint; only tensors are loaded" in line
    assert not (tmp_path / "ran").exists()


def no_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def index(**changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "model_index.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def write(name: str, data: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data)


def weights_that_run_code(folder: Path) -> None:
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.unlink()
    torch.save(Evil(folder.parent / "ran"), folder / "unet" / "diffusion_pytorch_model.bin")


def class_of_its_own(folder: Path) -> None:
    (folder / "unet" / "evil.py").write_text(
        f"import os\nos.mkdir({str(folder.parent / 'ran')!r})\n"
    )
    index(unet=["evil", "Evil"])(folder)


MODELS: dict[str, tuple[Spoil, str]] = {
    "no index": (no_index, "has no model_index.json"),
    "an index that is a list": (write("model_index.json", b"[]"), "supported are text-to-im"),
    "an index cut off": (write("model_index.json", b"{"), "model_index.json: not valid JSON"),
    "another family": (index(_class_name="CogVideoXPipeline"), "is a CogVideoXPipeline (a model"),
    "weights cut off": (
        write("unet/diffusion_pytorch_model.safetensors", b"\x10" + bytes(20)), "cannot be loaded"),
    "weights that run code": (weights_that_run_code, "cannot be loaded from the folder"),
    "a class of its own": (class_of_its_own, "cannot be loaded from the folder"),
    "no unet": (lambda folder: shutil.rmtree(folder / "unet"), "cannot be loaded from the folder"),
    "a config that is a list": (write("unet/config.json", b"[]"), "cannot be loaded from the fol"),
}  # fmt: skip


@pytest.mark.parametrize("what", MODELS)
def test_diffusion_models(
    what: str, dataset_dir: Path, tiny_pipeline_dir: Path, tmp_path: Path, refused: Refused
) -> None:
    spoil, problem = MODELS[what]
    folder = Path(shutil.copytree(tiny_pipeline_dir, tmp_path / "model"))
    spoil(folder)
    options = ("--diffusion_model", str(folder), "--categories", "albatross", "--device", "cpu")
    (line,) = refused(diffuse_img_attention, dataset_dir, *options, loads=True)
    assert str(folder) in line and problem in line
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["aligndiff_masks", "samples/image_000000.json"])
def test_masks_that_cannot_be_written(name: str, synthesized: Path, refused: Refused) -> None:
    (folder,) = (synthesized / "synthesized").iterdir()
    path = folder / name
    path.unlink(missing_ok=True)
    path.mkdir() if path.suffix else path.write_text("in the way")
    (line,) = refused(mask_generation, synthesized, "--fss_ckpt_path", "tiny")
    assert line.startswith(f"{path}: is ")


RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "index of another": ({"index": 5}, "its index is 5"),
    "index as a text": ({"index": "zero"}, "index: Input should be a valid integer"),
    "seed null": ({"seed": None}, "seed: Input should be a valid integer"),
    "status unknown": ({"status": ["done"]}, "status: Input should be"),
    "a path as a format": ({"image_format": "/../../../fish/1.jpg"}, "image_format"),
    "iou as a text": ({"iou": "high"}, "iou: Input should be a valid number"),
    "an unknown key": ({"evil": 1}, "not a record of this version (unknown evil)"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_records_of_samples(what: str, dataset_dir: Path, refused: Refused) -> None:
    changes, problem = RECORDS[what]
    add_records(dataset_dir, **changes)
    (line,) = refused(mask_generation, dataset_dir, "--fss_ckpt_path", "tiny")
    assert "samples/image_000000.json: " in line and problem in line and "remove the file" in line


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b'{"settings": 1}', b'{"settings": {}, "ran_on": 1, "loss": [{}]}'],
)
def test_records_of_embeddings(
    content: bytes, dataset_dir: Path, tiny_pipeline_dir: Path, refused: Refused
) -> None:
    folder = dataset_dir / "fish" / "learned_embeddings"
    folder.mkdir()
    (folder / "learned_embeds.safetensors").write_bytes(rows(np.zeros((1, 32), np.float32)))
    (folder / "inversion.json").write_bytes(content)
    (line,) = refused(
        image_mask_inversion, dataset_dir, "--diffusion_model", str(tiny_pipeline_dir)
    )
    assert "inversion.json: " in line and "--overwrite learns it again" in line
