"""LoRAs of others: found and checked before a model is loaded, then added to its weights."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from aligndiff.core.errors import InputError, one_line
from aligndiff.core.files import typed_path
from aligndiff.diffusion.choice import LoraFile
from aligndiff.diffusion.single_file.header import read_header

_HUB_FILE = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[\w.-]+)(/(?P<file>.+\.safetensors))?")
_MARKS = ("lora_", ".lora.", "lora.up", "lora.down")  # in every LoRA's tensor names
_OTHERS = {"hada_": "LoHa", "lokr_": "LoKr", "oft_": "OFT", "glora_": "GLoRA"}
_MOST = 100.0  # of a weight, either way; beyond it there is nothing to see


def parse_lora(word: str) -> LoraFile:
    """A LoRA as typed, "FILE" or "FILE:weight": a file, a folder that holds one, or a hub name.

    Raises InputError, in one line, when it is not there, is no LoRA by the names of its tensors, or
    its weight is no finite number.
    """
    name, weight = _split_weight(word)
    path = typed_path(name)
    if path.is_dir():
        path = _only_file(path, word)
    if path.is_file():
        check_is_lora(path)
        return LoraFile(name, path, weight)
    match = _HUB_FILE.fullmatch(name)
    if match is None or (name.endswith(".safetensors") and match["file"] is None):
        raise InputError(
            f"--lora {word}: no such file or folder; it takes FILE[:weight], with a .safetensors "
            "file, a folder that holds one, or a hub name (owner/name)"
        )
    return LoraFile(name, match["name"], weight, match["file"])


def check_is_lora(file: Path) -> None:
    """Raise InputError for a file that holds no LoRA, by its name and its tensors' names."""
    if file.suffix != ".safetensors":
        raise InputError(f"--lora {file}: only .safetensors files are read; a pickle can run code")
    names = list(read_header(file))
    for part, title in _OTHERS.items():
        if any(part in name for name in names):
            raise InputError(f"--lora {file}: is a {title}, which cannot be added; use a LoRA")
    if not any(mark in name for name in names for mark in _MARKS):
        first = min(names, default="none")
        raise InputError(f"--lora {file}: is no LoRA (its first tensor is {first})")


def add_loras(pipe: Any, loras: Sequence[LoraFile], local_only: bool, fuse: bool = True) -> None:
    """Add LoRAs to the weights of a pipeline, each with its own weight.

    `fuse`: into the weights themselves, so that the networks keep their layers and their speed;
    quantised weights cannot take that up. Raises InputError for one that fits no network of it.
    """
    for number, lora in enumerate(loras):
        _load(pipe, lora, f"lora_{number}", local_only)
    names = [f"lora_{number}" for number in range(len(loras))]
    pipe.set_adapters(names, [lora.weight for lora in loras])
    if fuse:
        parts = [name for name in pipe._lora_loadable_modules if getattr(pipe, name, None)]
        pipe.fuse_lora(components=parts, adapter_names=names)
        pipe.unload_lora_weights()


def _load(pipe: Any, lora: LoraFile, adapter: str, local_only: bool) -> None:
    place = lora.location
    where = (
        {"pretrained_model_name_or_path_or_dict": str(place.parent), "weight_name": place.name}
        if isinstance(place, Path)
        else {"pretrained_model_name_or_path_or_dict": place, "weight_name": lora.file}
    )
    try:
        pipe.load_lora_weights(**where, adapter_name=adapter, local_files_only=local_only)
    except (RuntimeError, ValueError, KeyError) as error:
        raise _misfit(lora, pipe, one_line(str(error))) from error
    if not any(adapter in names for names in pipe.get_list_adapters().values()):
        raise _misfit(lora, pipe, "none of its layers is in the model")


def _misfit(lora: LoraFile, pipe: Any, reason: str) -> InputError:
    short = reason if len(reason) <= 200 else f"{reason[:197]}..."
    return InputError(
        f"--lora {lora.name}: does not fit this {type(pipe).__name__} ({short}); a LoRA belongs to "
        "the family of models that it was made for"
    )


def _split_weight(word: str) -> tuple[str, float]:
    """The file and its weight: after the last colon, where no path of the whole name is there."""
    name, colon, number = word.rpartition(":")
    if not colon or not name or typed_path(word).exists():
        return word, 1.0
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not abs(weight) <= _MOST:  # NaN neither
        raise InputError(
            f"--lora {word}: the weight after the colon must be a number of at most {_MOST:g}, "
            f"not {number!r}"
        )
    return name, weight


def _only_file(folder: Path, word: str) -> Path:
    files: Collection[Path] = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return next(iter(files))
    usual = folder / "pytorch_lora_weights.safetensors"
    if usual in files:
        return usual
    listed = ", ".join(file.name for file in files) or "none"
    raise InputError(f"--lora {word}: which .safetensors file of this folder? it has {listed}")
