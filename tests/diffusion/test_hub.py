"""Models of the hub, from one on this machine: what is fetched, what is refused before it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.diffusion.load import resolve_diffusion_model
from tests.hub import local_hub

ROOT = Path(__file__).resolve().parents[2]
LOAD = """
import sys, torch
from aligndiff.core.exits import exit_with
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.load import resolve_diffusion_model

def main():
    pipe = load_pipeline(resolve_diffusion_model(sys.argv[1], None), "cpu", torch.float32)
    print(sum(p.numel() for p in pipe.unet.parameters()), pipe.unet.dtype)
    return 0

exit_with(main)
"""


def load(name: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Load a model of the hub as a process of its own: the client reads its settings once."""
    return subprocess.run(
        [sys.executable, "-c", LOAD, name],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*.safetensors"))


@pytest.fixture
def half_precision(tiny_pipeline_dir: Path, tmp_path: Path) -> Path:
    """The tiny pipeline with the fp16 variant of its weights alone."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(tiny_pipeline_dir, dtype=torch.float16)
    pipe.save_pretrained(tmp_path / "half", variant="fp16")
    assert all(".fp16." in path.name for path in parts(tmp_path / "half"))
    return tmp_path / "half"


def test_only_half_precision_is_found_on_the_hub_and_then_in_the_cache(
    half_precision: Path, tmp_path: Path
) -> None:
    with local_hub(half_precision, "some/half", tmp_path / "cache") as (environment, fetched):
        done = load("some/half", environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("torch.float32\n")
        assert sorted(name for name in fetched if name.endswith(".safetensors")) == [
            path.relative_to(half_precision).as_posix() for path in parts(half_precision)
        ]
    # The hub is gone: what is on this machine is taken without asking.
    again = load("some/half", environment)
    assert again.stdout == done.stdout and again.stderr == ""


def test_another_family_is_refused_before_its_weights_are_fetched(
    tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    index = {"_class_name": "CogVideoXPipeline", "unet": ["diffusers", "X"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(bytes(1000))
    with local_hub(folder, "some/videos", tmp_path / "cache") as (environment, fetched):
        done = load("some/videos", environment)
        assert done.returncode == 2 and fetched == ["model_index.json"]
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: diffusion model some/videos: ")
        assert "is a CogVideoXPipeline" in last and "supported are text-to-image" in last
    # Now that the cache knows it, nothing has to be asked or loaded.
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="some/videos: .* is a CogVideoXPipeline"):
        resolve_diffusion_model("some/videos", None)
