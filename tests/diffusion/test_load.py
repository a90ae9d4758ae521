"""Which weights are chosen, who said so, and what is said when they are not there."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.weights import ModelChoice
from aligndiff.diffusion import load
from aligndiff.diffusion.choice import DiffusionChoice
from aligndiff.diffusion.families import FAMILIES
from aligndiff.diffusion.hub import from_disk_or_hub, load_tokenizer
from aligndiff.diffusion.load import (
    DEFAULT_DIFFUSION_MODEL,
    DiffusionOptions,
    model_identity,
    resolve_diffusion_model,
)
from aligndiff.diffusion.model_files import choose_variant
from aligndiff.segmenters.ssp.load import resolve_checkpoint


def test_the_flag_wins_over_dataset_json_which_wins_over_the_built_in_model() -> None:
    assert str(resolve_diffusion_model("a/b", "c/d")) == "a/b (command line)"
    assert str(resolve_diffusion_model(None, "c/d")) == "c/d (dataset.json)"
    assert (
        str(resolve_diffusion_model(None, None)) == f"{DEFAULT_DIFFUSION_MODEL} (built-in default)"
    )


def test_tiny_and_folders_are_paths_and_hub_names_are_not(
    tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "WEIGHTS_DIR", tmp_path)
    shutil.copytree(tiny_pipeline_dir, tmp_path / "tiny")
    assert resolve_diffusion_model("tiny", None) == DiffusionChoice(
        "tiny", tmp_path / "tiny", "command line"
    )
    assert resolve_diffusion_model(str(tiny_pipeline_dir), None).location == tiny_pipeline_dir
    assert resolve_diffusion_model("owner/name-1.5", None).location == "owner/name-1.5"


@pytest.mark.parametrize("name", ["nowhere", "./models/sd", "/not/there", "a/b/c", "Tiny"])
def test_a_name_that_is_nothing_offers_tiny(name: str) -> None:
    with pytest.raises(MissingWeightsError) as caught:
        resolve_diffusion_model(name, None)
    (line,) = caught.value.problems
    assert line.startswith(f"diffusion model {name} (command line): no such folder")
    assert line.endswith("--diffusion_model tiny")


def test_a_folder_of_another_kind_is_refused_before_anything_loads(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no model_index.json"):
        resolve_diffusion_model(str(tmp_path), None)
    for kind, purpose in (
        ("StableDiffusionXLInpaintPipeline", "a model for inpainting"),
        ("StableDiffusionXLImg2ImgPipeline", "set up for image to image"),
        ("QwenImageEditPipeline", "a model for editing"),
        ("CogVideoXPipeline", "supported are text-to-image models of Stable Diffusion 1.x"),
    ):
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": kind}))
        with pytest.raises(InputError, match=f"is a {kind}.*{purpose}") as caught:
            resolve_diffusion_model(str(tmp_path), None)
        (line,) = caught.value.problems
        assert all(family.title in line for family in FAMILIES.values())


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_is_accepted_by_its_model_index(kind: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    assert resolve_diffusion_model(str(tmp_path), None).location == tmp_path


@pytest.mark.parametrize("name", ["sub/model.ckpt", "it's mine.pt"])
def test_a_pickle_is_refused_with_the_command_that_converts_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named relative to here, "sub/model.ckpt" looks like a name of the hub."""
    import torch
    from safetensors.torch import load_file

    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    torch.save({"state_dict": {"a": torch.ones(2), "step": 3}}, name)
    with pytest.raises(InputError) as caught:
        resolve_diffusion_model(name, None)
    (line,) = caught.value.problems
    target = Path(name).with_suffix(".safetensors")
    assert line.startswith(
        f"diffusion model {name} (command line): is a pickle, which can run code"
    )
    assert line.endswith(f"; then --diffusion_model {target}")
    command = shlex.split(line[line.index("python -c") : line.index("; then --diff")])
    compile(command[2], "command", "exec")
    if "'" in name:  # once: torch takes seconds to load
        subprocess.run([sys.executable, *command[1:]], check=True)
        assert load_file(target)["a"].tolist() == [1, 1]


def test_what_exists_is_a_path_and_never_a_hub_name(
    tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_pipeline_dir, tmp_path / "owner" / "name")
    assert resolve_diffusion_model("owner/name", None).location == Path("owner/name")
    assert resolve_diffusion_model("owner/other", None).location == "owner/other"


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=f"is a file of the .*; name the folder, {tmp_path}$"):
        resolve_diffusion_model(str(tmp_path / "model_index.json"), None)
    with pytest.raises(InputError, match="photo.jpg .*: is neither a .safetensors file nor a dif"):
        resolve_diffusion_model(str(tmp_path / "photo.jpg"), None)
    with pytest.raises(MissingWeightsError, match="gone.safetensors .*: no such file, and a hub"):
        resolve_diffusion_model("models/gone.safetensors", None)


@pytest.mark.parametrize(
    ("files", "variant"),
    [
        (["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"], None),
        (
            [
                "unet/diffusion_pytorch_model.fp16.safetensors",
                "unet/diffusion_pytorch_model.safetensors",
            ],
            None,
        ),
        (
            ["unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/model.safetensors"],
            "fp16",
        ),
        (["unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors"], "fp16"),
        (["unet/diffusion_pytorch_model-00001-of-00002.fp16.bin"], "fp16"),
        (["unet/diffusion_pytorch_model-00001-of-00002.bin"], None),
        (
            [
                "unet/diffusion_pytorch_model.non_ema.safetensors",
                "unet/diffusion_pytorch_model.fp16.safetensors",
                "vae/diffusion_pytorch_model.fp16.safetensors",
            ],
            "fp16",
        ),
        (["safety_checker/model.fp16.safetensors", "model.fp16.safetensors"], None),
        ([], None),
    ],
)
def test_a_variant_is_taken_where_the_usual_weights_are_missing(
    files: list[str], variant: str | None
) -> None:
    assert choose_variant(files, None, "model") == variant


def test_a_variant_that_is_asked_for_must_be_there(tiny_pipeline_dir: Path) -> None:
    files = ["unet/diffusion_pytorch_model.fp16.safetensors", "vae/model.safetensors"]
    assert choose_variant(files, "fp16", "model") == "fp16"
    with pytest.raises(InputError, match="^--variant bf16: .*model has no such weights; it has fp"):
        choose_variant(files, "bf16", "model")
    with pytest.raises(InputError, match="it has the usual weights only"):
        resolve_diffusion_model(str(tiny_pipeline_dir), None, DiffusionOptions(variant="fp16"))


def test_missing_tiny_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WEIGHTS_DIR", tmp_path)
    monkeypatch.setattr("aligndiff.segmenters.ssp.load.WEIGHTS_DIR", tmp_path)
    with pytest.raises(MissingWeightsError, match="tiny .*restore it from the repository"):
        resolve_diffusion_model("tiny", None)
    with pytest.raises(MissingWeightsError, match="tiny_ssp.safetensors; .*restore it"):
        resolve_checkpoint(None, "tiny")


def test_a_checkpoint_must_be_named_and_there(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"docs/PREPARE.md.*--fss_ckpt_path tiny"):
        resolve_checkpoint(None, None)
    path = tmp_path / "ssp.pth"
    with pytest.raises(MissingWeightsError, match=r"no file .*ssp.pth; docs/PREPARE.md"):
        resolve_checkpoint(str(path), None)
    path.write_bytes(b"")
    assert resolve_checkpoint(None, str(path)) == ModelChoice(str(path), path, "dataset.json")


def test_the_identity_of_a_folder_changes_with_its_settings_and_its_weights(
    tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_pipeline_dir, tmp_path / "elsewhere" / "small_random"))
    first = model_identity(ModelChoice("x", tiny_pipeline_dir, "command line"))
    assert first.startswith("small_random ")
    assert model_identity(ModelChoice("y", folder, "dataset.json")) == first, (
        "a copy is the same model"
    )
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("epsilon", "v_prediction"))
    second = model_identity(ModelChoice("y", folder, "dataset.json"))
    weights = next(folder.glob("unet/*.safetensors"))
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # trained on: the same size
    third = model_identity(ModelChoice("y", folder, "dataset.json"))
    assert len({first, second, third}) == 3
    assert model_identity(ModelChoice("a/b", "a/b", "command line")) == "a/b"


def test_load_tokenizer_reads_a_folder_and_fails_in_one_line(
    tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(ModelChoice("small", tiny_pipeline_dir, "command line"))
    assert len(tokenizer("a photo of an albatross").input_ids) == 8
    with pytest.raises(MissingWeightsError) as caught:
        load_tokenizer(ModelChoice("no/model", "no/model", "command line"))
    (line,) = caught.value.problems
    assert "no/model (command line): no such folder, and cannot be loaded from the hub" in line
    assert line.endswith("--diffusion_model tiny")


def test_a_hub_that_does_not_answer_is_asked_once_and_not_for_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    asked: list[bool] = []

    def load(local_only: bool) -> None:
        asked.append(local_only)
        raise OSError("not here")

    with pytest.raises(MissingWeightsError, match="http://127.0.0.1:9 cannot be reached") as caught:
        from_disk_or_hub(ModelChoice("some/model", "some/model", "dataset.json"), load)
    assert len(caught.value.problems) == 1
    assert asked == [True], "only this machine was asked, by the patient client"


def test_choosing_weights_does_not_load_torch() -> None:
    code = "import sys, aligndiff.diffusion.load, aligndiff.core.device, aligndiff.diffusion.tokens"
    check = "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", f"{code}; {check}"]).returncode == 0
