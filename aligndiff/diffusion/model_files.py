"""The files of a diffusion model, in a folder or on the hub: which there are, of which family."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json
from aligndiff.diffusion.hub import OFFER_TINY_MODEL

MODEL_INDEX = "model_index.json"
PIPELINE_CLASS = "StableDiffusionPipeline"
WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
WEIGHT_PARTS = ("unet", "vae", "text_encoder")
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


def find_variant(files: Iterable[str]) -> str | None:
    """The variant to load where a model's part has no usual weight files, as "fp16"; else None.

    files: names relative to the model's folder.
    """
    variants: dict[str, set[str]] = {}
    for match in filter(None, map(WEIGHT_FILE.fullmatch, files)):
        if match["part"] in WEIGHT_PARTS:
            variant = match["variant"] or match["old_variant"] or ""
            variants.setdefault(match["part"], set()).add(variant)
    lacking = [names for names in variants.values() if "" not in names]
    shared = set.intersection(*lacking) if lacking else set()
    return "fp16" if "fp16" in shared else min(shared, default=None)


def check_family(index: Path, name: str) -> None:
    """Refuse a model whose model_index.json, `index`, is not that of Stable Diffusion 1.x or 2.x.

    `name` is the model's, for the message.
    """
    contents = read_json(index)
    kind = contents.get("_class_name") if isinstance(contents, dict) else "JSON file without keys"
    if kind != PIPELINE_CLASS:
        raise InputError(
            f"diffusion model {name}: {index} is a {kind}; only {PIPELINE_CLASS} (Stable Diffusion "
            f"1.x and 2.x) works here; {OFFER_TINY_MODEL}"
        )


def check_pipeline_folder(folder: Path, name: str) -> None:
    """Refuse a folder that does not hold a Stable Diffusion 1.x or 2.x pipeline."""
    index = folder / MODEL_INDEX
    if not index.is_file():
        raise InputError(
            f"diffusion model {name}: {folder} has no {MODEL_INDEX}, so it is not a diffusers "
            f"folder; {OFFER_TINY_MODEL}"
        )
    check_family(index, name)


def explain_file(file: Path) -> str:
    """What to do with a file that was named as a model."""
    if file.name == MODEL_INDEX:
        return f"is a file of the model's folder; name the folder, {file.parent}"
    if file.suffix not in WEIGHT_SUFFIXES:
        return f"is a file, not a diffusers folder; {OFFER_TINY_MODEL}"
    folder = file.with_suffix("")
    code = (
        "from diffusers import StableDiffusionPipeline as Model; "
        f"Model.from_single_file({json.dumps(str(file))}).save_pretrained({json.dumps(str(folder))})"
    )
    return (
        "is a single file, and a diffusers folder is needed; make one (needs the hub once): "
        f"python -c {shlex.quote(code)}; then --diffusion_model {folder} "
        "(docs/PREPARE.md says more)"
    )
