"""The files of a diffusion model, in a folder or on the hub: which there are, of which family."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json
from aligndiff.diffusion.families import FAMILIES, supported
from aligndiff.diffusion.hub import OFFER_TINY_MODEL

MODEL_INDEX = "model_index.json"
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
WEIGHT_SUFFIXES = (".safetensors", *PICKLES)
# The networks that are loaded; not the safety checker.
WEIGHT_PART = re.compile(r"unet|transformer|vae|text_encoder(_\d)?")
# What a pipeline class that is not supported is for, by a part of its name.
PURPOSES = {
    "Inpaint": "a model for inpainting, which fills a hole in a given picture",
    "Fill": "a model for inpainting, which fills a hole in a given picture",
    "Img2Img": "set up for image to image; its text-to-image model may work",
    "ImageToImage": "set up for image to image; its text-to-image model may work",
    "Edit": "a model for editing, which changes a given picture",
    "Kontext": "a model for editing, which changes a given picture",
    "Pix2Pix": "a model for editing, which changes a given picture",
    "Upscale": "a model that enlarges a given picture",
    "ControlNet": "set up with a ControlNet, which draws along another picture",
    "Video": "a model of videos",
    "Prior": "one of the two parts of a model",
}
# "unet/diffusion_pytorch_model.fp16.safetensors", of several files "...fp16-00001-of-00002..." or,
# in older folders, "...-00001-of-00002.fp16...".
WEIGHT_FILE = re.compile(
    r"(?P<part>\w+)/(diffusion_pytorch_model|pytorch_model|model)(\.(?P<variant>\w+))?"
    r"(-\d+-of-\d+)?(\.(?P<old_variant>\w+))?\.(safetensors|bin)"
)


def cached_file(name: str, file: str) -> Path | None:
    """A file of the hub's model `name` ("owner/name"), None when it is not in the cache."""
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(name, file)
    except ValueError:  # no name that the hub allows, which loading tells
        return None
    return Path(path) if isinstance(path, str) else None


def model_file(location: str | Path, file: str, local_only: bool) -> Path:
    """A small file of a model: of a folder, of the cache of a hub name, or fetched from the hub.

    Raises OSError when it is not there; what the hub's client raises when it fails.
    """
    if isinstance(location, str) and not local_only:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(location, file))
    path = location / file if isinstance(location, Path) else cached_file(location, file)
    if path is None or not path.is_file():
        raise FileNotFoundError(f"{location} has no {file}")
    return path


def list_files(location: str | Path, local_only: bool) -> list[str]:
    """The files of a model, relative and with "/": of a folder, or of a hub name ("owner/name").

    `local_only`: what the cache holds of the hub's model, which may be nothing.
    """
    if isinstance(location, str) and not local_only:
        from huggingface_hub import list_repo_files

        return list_repo_files(location)
    index = cached_file(location, MODEL_INDEX) if isinstance(location, str) else None
    folder = location if isinstance(location, Path) else index.parent if index else None
    if folder is None:
        return []
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def variants_of(files: Iterable[str]) -> dict[str, set[str]]:
    """Which variants of its weights each part of a model has; "" is the usual one.

    files: names relative to the model's folder.
    """
    variants: dict[str, set[str]] = {}
    for match in filter(None, map(WEIGHT_FILE.fullmatch, files)):
        if WEIGHT_PART.fullmatch(match["part"]):
            variant = match["variant"] or match["old_variant"] or ""
            variants.setdefault(match["part"], set()).add(variant)
    return variants


def choose_variant(files: Iterable[str], asked: str | None, name: str) -> str | None:
    """The variant to load: the one asked for, else one for parts without the usual weights.

    Raises InputError where no part of the model has the one asked for.
    """
    variants = variants_of(files)
    there = sorted(set().union(*variants.values()) - {""})
    if asked is None or asked in there:
        return asked or find_variant(variants)
    has = f"it has {', '.join(there)}" if there else "it has the usual weights only"
    raise InputError(f"--variant {asked}: the diffusion model {name} has no such weights; {has}")


def find_variant(variants: Mapping[str, set[str]]) -> str | None:
    """The variant to load where a model's part has no usual weight files, as "fp16"; else None."""
    lacking = [names for names in variants.values() if "" not in names]
    shared = set.intersection(*lacking) if lacking else set()
    return "fp16" if "fp16" in shared else min(shared, default=None)


def pipeline_class(index: Path) -> str:
    """The pipeline class that a model_index.json names; what else it is where it names none."""
    contents = read_json(index)
    kind = contents.get("_class_name") if isinstance(contents, dict) else "JSON file without keys"
    return str(kind)


def check_class(kind: str, name: str, place: object) -> None:
    """Raise InputError, with all that is supported, for a pipeline class that is not.

    `name` is the model's and `place` where it says so, for the message.
    """
    if kind in FAMILIES:
        return
    purpose = next((f" ({text})" for part, text in PURPOSES.items() if part in kind), "")
    raise InputError(
        f"diffusion model {name}: {place} is a {kind}{purpose}; supported are text-to-image "
        f"models of {supported()}; {OFFER_TINY_MODEL}"
    )


def check_family(index: Path, name: str) -> None:
    """Refuse a model whose model_index.json, `index`, names a pipeline that is not supported."""
    check_class(pipeline_class(index), name, index)


def check_pipeline_folder(folder: Path, name: str) -> None:
    """Refuse a folder that does not hold a pipeline of a supported family."""
    index = folder / MODEL_INDEX
    if not index.is_file():
        raise InputError(
            f"diffusion model {name}: {folder} has no {MODEL_INDEX}, so it is not a diffusers "
            f"folder; {OFFER_TINY_MODEL}"
        )
    check_family(index, name)


def explain_file(file: Path) -> str:
    """What to do with a file that was named as a model and is none that can be read."""
    if file.name == MODEL_INDEX:
        return f"is a file of the model's folder; name the folder, {file.parent}"
    if file.suffix not in PICKLES:
        return f"is neither a .safetensors file nor a diffusers folder; {OFFER_TINY_MODEL}"
    target = file.with_suffix(".safetensors")
    code = (
        "import torch; from safetensors.torch import save_file; "
        f"w = torch.load({json.dumps(str(file))}, map_location='cpu', weights_only=True); "
        "w = w.get('state_dict', w); "
        "save_file({k: v.clone() for k, v in w.items() if isinstance(v, torch.Tensor)}, "
        f"{json.dumps(str(target))})"
    )
    return (
        "is a pickle, which can run code when it is read; make a .safetensors file of it once: "
        f"python -c {shlex.quote(code)}; then --diffusion_model {target}"
    )
