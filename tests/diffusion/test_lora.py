"""LoRAs of others: what is refused before a model loads, and what one adds to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from aligndiff.core.errors import InputError
from aligndiff.diffusion.hub import quiet_loading
from aligndiff.diffusion.load import DiffusionOptions, model_identity, resolve_diffusion_model
from aligndiff.diffusion.lora import parse_lora
from aligndiff.diffusion.pretrained import load_pipeline
from scripts.tiny_families.build import build_tiny

RANK = 2
LAYERS = {
    "StableDiffusionPipeline": (
        "unet",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
    ),
    "FluxPipeline": ("transformer", "transformer_blocks.0.attn.to_k"),
}


def write_lora(pipe: Any, file: Path, seed: int = 0, width: int | None = None) -> torch.Tensor:
    """A LoRA of one layer, as diffusers names it; returns what it adds to the layer's weight."""
    part, layer = LAYERS[type(pipe).__name__]
    rows, columns = getattr(pipe, part).get_submodule(layer).weight.shape
    generator = torch.Generator().manual_seed(seed)
    down = torch.randn(RANK, width or columns, generator=generator)
    up = torch.randn(rows, RANK, generator=generator)
    names = {"lora_A": down, "lora_B": up}
    save_file({f"{part}.{layer}.{name}.weight": value for name, value in names.items()}, file)
    return up @ down


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    quiet_loading()
    root = tmp_path_factory.mktemp("lora")
    for kind in LAYERS:
        build_tiny(kind).save_pretrained(root / kind)
    return root


def weight(folder: Path, *loras: str) -> torch.Tensor:
    """The layer's weight in a pipeline loaded with LoRAs."""
    options = DiffusionOptions(lora=loras)
    chosen = resolve_diffusion_model(str(folder), None, options)
    pipe = load_pipeline(chosen, "cpu", torch.float32)
    part, layer = LAYERS[folder.name]
    return getattr(pipe, part).get_submodule(layer).weight


@pytest.mark.parametrize("kind", LAYERS)
def test_loras_are_added_to_the_weights_each_with_its_own(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    pipe = build_tiny(kind)
    first = write_lora(pipe, tmp_path / "first.safetensors")
    (tmp_path / "second").mkdir()
    second = write_lora(pipe, tmp_path / "second" / "any name.safetensors", seed=1)
    plain = weight(folder / kind)
    added = weight(folder / kind, f"{tmp_path}/first.safetensors:0.5", f"{tmp_path / 'second'}:-1")
    torch.testing.assert_close(added, plain + 0.5 * first - second, atol=1e-5, rtol=0)
    assert not added.requires_grad
    single = weight(folder / kind, str(tmp_path / "first.safetensors"))
    torch.testing.assert_close(single, plain + first, atol=1e-5, rtol=0)


def test_a_lora_of_another_model_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    flux, diffusion = (build_tiny(kind) for kind in ("FluxPipeline", "StableDiffusionPipeline"))
    write_lora(flux, tmp_path / "flux.safetensors")
    write_lora(diffusion, tmp_path / "wide.safetensors", width=99)
    for name in ("flux", "wide"):
        with pytest.raises(InputError, match="does not fit this StableDiffusionPipeline") as caught:
            weight(folder / "StableDiffusionPipeline", str(tmp_path / f"{name}.safetensors"))
        assert len(caught.value.problems) == 1


def test_what_is_no_lora_is_refused_before_a_model_is_looked_for(tmp_path: Path) -> None:
    good, other, loha = (tmp_path / f"{name}.safetensors" for name in ("good", "vae", "loha"))
    save_file({"lora_unet_x.lora_up.weight": torch.ones(1)}, good)
    save_file({"decoder.weight": torch.ones(1)}, other)
    save_file({"lora_unet_x.hada_w1_a": torch.ones(1)}, loha)
    (tmp_path / "old.pt").write_bytes(b"")
    (tmp_path / "both").mkdir()
    for name in ("a", "b"):
        save_file(
            {"lora_unet_x.lora_up.weight": torch.ones(1)}, tmp_path / "both" / f"{name}.safetensors"
        )
    problems = {
        str(tmp_path / "none.safetensors"): "no such file or folder; it takes FILE",
        f"{good}:much": "the weight after the colon must be a number of at most 100, not 'much'",
        f"{good}:nan": "not 'nan'",
        f"{good}:1e9": "not '1e9'",
        f"{other}:0.5": "is no LoRA .its first tensor is decoder.weight",
        str(loha): "is a LoHa, which cannot be added",
        str(tmp_path / "old.pt"): "only .safetensors files are read",
        str(tmp_path / "both"): "which .safetensors file of this folder. it has a.saf.*, b.saf",
    }
    for word, problem in problems.items():
        with pytest.raises(InputError, match=f"^--lora .*{problem}") as caught:
            resolve_diffusion_model("no/model", None, DiffusionOptions(lora=(word,)))
        assert len(caught.value.problems) == 1


def test_a_lora_is_a_path_where_it_exists_and_else_a_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    save_file({"x.lora_A.weight": torch.ones(1)}, tmp_path / "owner" / "style:2.safetensors")
    here = parse_lora("owner/style:2.safetensors")
    assert (here.location, here.weight) == (Path("owner/style:2.safetensors"), 1.0)
    named = parse_lora("owner/style:0.25")
    assert (named.location, named.file, named.weight) == ("owner/style", None, 0.25)
    part = parse_lora("owner/name/sub/style.safetensors")
    assert (part.location, part.file) == ("owner/name", "sub/style.safetensors")


def test_the_identity_of_a_model_names_its_loras(folder: Path, tmp_path: Path) -> None:
    pipe = build_tiny("FluxPipeline")
    for seed, name in enumerate(("one", "two")):
        write_lora(pipe, tmp_path / f"{name}.safetensors", seed)

    def identity(*loras: str) -> str:
        options = DiffusionOptions(lora=loras)
        return model_identity(resolve_diffusion_model(str(folder / "FluxPipeline"), None, options))

    one, two = f"{tmp_path}/one.safetensors", f"{tmp_path}/two.safetensors"
    told = [identity(*words) for words in ((), (one,), (two,), (f"{one}:0.5",), (one, two))]
    assert len(set(told)) == len(told)
    assert told[1].startswith(f"{told[0]}, lora one.safetensors ") and told[1].endswith(" x 1")
    assert told[3].endswith(" x 0.5")
