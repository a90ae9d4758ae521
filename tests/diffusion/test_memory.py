"""What a model needs of the memory, told from its files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from aligndiff.diffusion.hub import quiet_loading
from aligndiff.diffusion.load import DiffusionOptions, resolve_diffusion_model
from aligndiff.diffusion.memory import (
    NUMBERS_PER_PIXEL,
    advise,
    describe_memory,
    memory_lines,
    memory_need,
)
from scripts.tiny_families.build import build_tiny
from tests.single_files import write_denoiser, write_single_file

GIB = 2**30


def sizes(pipe: Any) -> dict[str, int]:
    """The numbers of a pipeline's networks as they are stored, by part."""
    parts = {
        name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)
    }
    return {
        name: sum(w.numel() for w in part.state_dict().values()) for name, part in parts.items()
    }


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    quiet_loading()
    folder = tmp_path_factory.mktemp("memory") / "flux"
    build_tiny("FluxPipeline").save_pretrained(folder)
    return folder


def choice(folder: Path, **options: Any) -> Any:
    return resolve_diffusion_model(str(folder), None, DiffusionOptions(**options))


def test_weights_are_counted_in_the_number_format_of_the_run(flux: Path) -> None:
    pipe = build_tiny("FluxPipeline")
    numbers = sizes(pipe)
    numbers["text_encoder_2"] -= pipe.text_encoder_2.shared.weight.numel()  # stored once
    for precision, size in (("float32", 4), ("bfloat16", 2)):
        need = memory_need(choice(flux), precision, [512])
        assert need is not None
        assert need.parts == {name: count * size for name, count in numbers.items()}
        assert need.image == 512 * 512 * NUMBERS_PER_PIXEL * size
        assert need.total("none") == sum(need.parts.values()) + need.image
        assert need.total("model") == max(need.parts.values()) + need.image
        assert need.total("sequential") == need.image
    wide = memory_need(choice(flux), "bfloat16", [512, 1024])
    assert wide is not None and wide.image == 512 * 1024 * NUMBERS_PER_PIXEL * 2
    own = memory_need(choice(flux), "bfloat16")
    assert own is not None and own.side == 1024
    tiled = memory_need(choice(flux, vae_tiling=True), "bfloat16", [2048])
    assert tiled is not None and tiled.image == 512 * 512 * NUMBERS_PER_PIXEL * 2


def test_a_single_file_needs_what_its_folder_needs(tmp_path: Path) -> None:
    pipe = build_tiny("StableDiffusionPipeline")
    pipe.save_pretrained(tmp_path / "folder")
    file = write_single_file(pipe, tmp_path / "model.safetensors")
    whole, folder = (memory_need(choice(place), "float32") for place in (file, tmp_path / "folder"))
    assert whole is not None and folder is not None and whole.parts == folder.parts
    qwen = build_tiny("QwenImagePipeline")
    qwen.save_pretrained(tmp_path / "qwen")
    alone = write_denoiser(qwen, tmp_path / "denoiser.safetensors")
    shutil.rmtree(tmp_path / "qwen" / "transformer")
    need = memory_need(choice(alone, base_model=str(tmp_path / "qwen")), "float32")
    assert need is not None and need.parts["transformer"] == sizes(qwen)["transformer"] * 4
    assert need.parts.keys() == {"transformer", "text_encoder", "vae"}


def test_a_model_whose_files_are_not_all_here_is_not_estimated(flux: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(flux, tmp_path / "flux"))
    shutil.rmtree(folder / "text_encoder_2")
    assert memory_need(choice(folder), "float32") is None
    hub = resolve_diffusion_model("no/model", None)
    assert memory_lines(hub, "cpu", "float32") == (None, None)


def test_what_is_needed_and_what_is_there_is_one_sentence(flux: Path) -> None:
    need = memory_need(choice(flux), "bfloat16")
    assert need is not None
    weights = round(sum(need.parts.values()) / 2**20)
    assert describe_memory(need, choice(flux), 3 * GIB) == (
        f"memory: about {weights} MiB for the weights, and 2.0 GiB for each image of 1024 px "
        "that is drawn at once; 3.0 GiB are free"
    )
    learning = describe_memory(need, choice(flux), None, learning=True)
    assert learning.endswith("gradient takes on top (less with --gradient_checkpointing)")
    sentence, _ = memory_lines(choice(flux), "cpu", "bfloat16", [64])
    assert sentence is not None and sentence.endswith(" GiB are free")


def test_what_would_make_it_fit_is_named(flux: Path) -> None:
    need = memory_need(choice(flux), "float32", [64])
    assert need is not None
    free = int(need.total("none")) - 1
    assert advise(choice(flux), "float32", [64], free + 1, True) is None
    assert "; --offload model needs" in str(advise(choice(flux), "float32", [64], free, True))
    on_cpu = advise(choice(flux), "float32", [64], free, False)
    assert "it will hardly fit; --precision bfloat16 needs about" in str(on_cpu)
    below = int(need.total("model")) - 1
    quantised = advise(choice(flux), "float32", [64], below, True)
    assert "--quantize 4bit" in str(quantised)
    nothing = advise(choice(flux), "float32", [64], 10, True)
    assert str(nothing).endswith("it will not fit here; take a smaller model or --side")
