from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.diffusion.embeddings import check_embeddings, count_vectors


def test_what_is_wrong_with_a_file_of_vectors_is_told(tmp_path: Path) -> None:
    path = tmp_path / "learned_embeds.safetensors"
    save_file({"<fss-token>": np.zeros((3, 8), np.float32)}, path)
    assert count_vectors(path) == 3
    save_file({"<fss-token>": np.zeros(8, np.float32)}, path)
    assert count_vectors(path) == 1
    save_file({"<fss-my-fish>": np.zeros((2, 8), np.float32)}, path)
    assert count_vectors(path) == 2
    two = {name: np.zeros((1, 8), np.float32) for name in ("<fss-a>", "<fss-b>")}
    for tensors in ({"unet.weight": np.zeros((1, 8), np.float32)}, two):
        save_file(tensors, path)
        names = ", ".join(tensors)
        with pytest.raises(InputError, match=f"holds {names}, not the vectors of one token such"):
            count_vectors(path)
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        count_vectors(path)


def test_the_width_of_a_model_of_the_hub_is_read_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "learned_embeds.safetensors"
    save_file({"<fss-token>": np.zeros((1, 8), np.float32)}, path)
    chosen = ModelChoice("a/b", "a/b", "command line")
    check_embeddings([path], chosen)  # nothing is known of the model
    folder = tmp_path / "cache" / "models--a--b"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c0ffee")
    config = folder / "snapshots" / "c0ffee" / "text_encoder" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"hidden_size": 8}))
    check_embeddings([path], chosen)
    config.write_text(json.dumps({"hidden_size": 768}))
    with pytest.raises(InputError, match="its vectors hold 8 numbers, .* a/b .* takes 768"):
        check_embeddings([path], chosen)
