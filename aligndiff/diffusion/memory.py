"""What a model needs of the memory, from its files alone, before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json
from aligndiff.core.weights import ModelChoice
from aligndiff.diffusion.choice import DiffusionChoice, with_options
from aligndiff.diffusion.families import FAMILIES
from aligndiff.diffusion.load import class_of
from aligndiff.diffusion.model_files import (
    MODEL_INDEX,
    WEIGHT_FILE,
    WEIGHT_PART,
    choose_variant,
    list_files,
    model_file,
)
from aligndiff.diffusion.quantization import BYTES, large_parts
from aligndiff.diffusion.single_file.header import read_header
from aligndiff.diffusion.single_file.kinds import kind_of_file

# Numbers that are held for every pixel of an image while it is drawn, on the safe side by a third:
# the decoder of the VAE holds 768 at its widest (three maps of 256 channels in full resolution),
# the denoisers 130 to 240 (counted layer by layer for SD 1.5, SDXL, SD 3 and FLUX.1).
NUMBERS_PER_PIXEL = 1024
TILE = 512  # px; with --vae_tiling no more than such a part is decoded at once
ITEM_SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}
_GIB = 2**30
_USUAL_SIDE = 1024


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of a model's parts as they are loaded, and of one image of `side` px while drawn."""

    parts: Mapping[str, float]
    image: float
    side: int

    def total(self, offload: str) -> float:
        """Bytes on the device for one image at a time; layer by layer the weights hardly count."""
        weights = {
            "none": sum(self.parts.values()),
            "model": max(self.parts.values(), default=0.0),
            "sequential": 0.0,
        }
        return weights[offload] + self.image


def memory_need(
    chosen: ModelChoice, precision: str, side: Sequence[int] = (), quantize: str | None = None
) -> MemoryNeed | None:
    """What a model needs in a number format; None where its files are not all on this machine.

    side: of the images, in px, or height and width; empty: the model's own. `quantize` instead of
    the model's.
    """
    choice = with_options(chosen)
    size = ITEM_SIZES[precision]
    try:
        numbers = _numbers_of_file(choice) if choice.is_file else _numbers_of_folder(choice)
        index = _index(choice)
    except (OSError, InputError):
        return None
    if not numbers or not set(_networks(index)) <= numbers.keys():
        return None
    quantize = quantize or choice.quantize
    large = large_parts(index) if quantize != "none" else []
    parts = {
        part: count * (BYTES[quantize] if part in large else size)
        for part, count in numbers.items()
    }
    height, width = (side[0], side[-1]) if side else (_own_side(choice),) * 2
    decoded = min(height, TILE) * min(width, TILE) if choice.vae_tiling else height * width
    return MemoryNeed(parts, decoded * NUMBERS_PER_PIXEL * size, max(height, width))


def memory_lines(
    chosen: ModelChoice,
    device: str,
    precision: str,
    side: Sequence[int] = (),
    learning: bool = False,
) -> tuple[str | None, str | None]:
    """What a run's model needs and what is there, in one sentence; and a warning if it is too much.

    `device` and `precision` in the words of the command line. Neither where the model's files are
    not here yet. What `learning` takes besides the weights is not estimated.
    """
    from aligndiff.core.device import free_on_device

    choice = with_options(chosen)
    need = memory_need(choice, precision, side)
    if need is None:
        return None, None
    free, on_gpu = free_on_device(device)
    return describe_memory(need, choice, free, learning), advise(
        choice, precision, side, free, on_gpu
    )


def describe_memory(
    need: MemoryNeed, choice: DiffusionChoice, free: int | None, learning: bool = False
) -> str:
    """What is needed and what is there, in one sentence."""
    how = {"none": "", "model": ", one network at a time", "sequential": ", layer by layer"}
    weights = (
        f"{_size(need.total(choice.offload) - need.image)} for the weights{how[choice.offload]}"
    )
    more = f"{_size(need.image)} for each image of {need.side} px that is drawn at once"
    if learning:
        more = "what the gradient takes on top (less with --gradient_checkpointing)"
    there = "" if free is None else f"; {_size(free)} are free"
    return f"memory: about {weights}, and {more}{there}"


def advise(
    chosen: ModelChoice, precision: str, side: Sequence[int], free: int | None, on_gpu: bool
) -> str | None:
    """What to change where a model will not fit into `free` bytes; None where it will."""
    choice = with_options(chosen)
    need = memory_need(choice, precision, side)
    if need is None or free is None or need.total(choice.offload) <= free:
        return None
    options = dict[str, float]()
    if on_gpu:
        options["--offload model"] = need.total("model")
        smaller = memory_need(choice, precision, side, quantize="4bit")
        if smaller is not None and smaller.parts != need.parts:
            options["--quantize 4bit"] = smaller.total("none")
            options["--quantize 4bit --offload model"] = smaller.total("model")
        options["--offload sequential (slow)"] = need.total("sequential")
    if precision == "float32":
        options["--precision bfloat16"] = need.total("none") / 2
    fits = next((name for name, size in options.items() if size <= free), None)
    wants = f"this model needs about {_size(need.total(choice.offload))}, {_size(free)} are free"
    if fits is None:
        return f"{wants}: it will not fit here; take a smaller model or --side"
    return f"{wants}: it will hardly fit; {fits} needs about {_size(options[fits])}"


def _numbers_of_folder(choice: DiffusionChoice, skip: Sequence[str] = ()) -> dict[str, int]:
    """How many numbers each part of a folder, or of the cache of a hub name, has."""
    files = list_files(choice.location, local_only=True)
    variant = choose_variant(files, choice.variant, choice.name) or ""
    chosen: dict[str, dict[str, list[str]]] = {}
    for file in files:
        match = WEIGHT_FILE.fullmatch(file)
        if match and WEIGHT_PART.fullmatch(match["part"]) and file.endswith(".safetensors"):
            kind = match["variant"] or match["old_variant"] or ""
            chosen.setdefault(match["part"], {}).setdefault(kind, []).append(file)
    return {
        part: sum(_numbers(model_file(choice.location, name, True)) for name in kinds[kind])
        for part, kinds in chosen.items()
        if part not in skip and (kind := variant if variant in kinds else "") in kinds
    }


def _numbers_of_file(choice: DiffusionChoice) -> dict[str, int]:
    """The same of a single file, whole or with the rest of its base."""
    assert isinstance(choice.location, Path)
    parts: dict[str, int] = {}
    network = "unet" if "unet" in _index(choice) else "transformer"
    beginnings = {"first_stage_model.": "vae", "cond_stage_model.": "text_encoder"}
    beginnings |= {"conditioner.embedders.0.": "text_encoder"}
    beginnings |= {"conditioner.embedders.1.": "text_encoder_2"}
    for name, tensor in read_header(choice.location).items():
        part = next((p for start, p in beginnings.items() if name.startswith(start)), network)
        parts[part] = parts.get(part, 0) + tensor.numbers
    if choice.base is None or "vae" in parts:
        return parts
    return _numbers_of_folder(with_options(choice.base), skip=[network]) | parts


def _numbers(file: Path) -> int:
    return sum(tensor.numbers for tensor in read_header(file).values())


def _index(choice: DiffusionChoice) -> dict[str, object]:
    """The model_index.json, or that which belongs to a single file."""
    if choice.is_file and choice.base is None:
        assert isinstance(choice.location, Path)
        folder = Path(__file__).with_name("single_file") / "configs"
        return read_json(folder / kind_of_file(choice.location).configs / MODEL_INDEX)
    return read_json(model_file(choice.configs.location, MODEL_INDEX, local_only=True))


def _networks(index: Mapping[str, object]) -> list[str]:
    return [
        name
        for name, kind in index.items()
        if WEIGHT_PART.fullmatch(name) and isinstance(kind, list) and kind[1]
    ]


def _own_side(choice: DiffusionChoice) -> int:
    """The side in px of the images a model was trained on, as far as its small files tell."""
    family = FAMILIES.get(class_of(choice) or "")
    if family is not None and family.side is not None:
        return family.side
    for part in ("unet", "transformer"):
        try:
            side = read_json(model_file(choice.configs.location, f"{part}/config.json", True))
            vae = read_json(model_file(choice.configs.location, "vae/config.json", True))
            return int(side["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)
        except (OSError, InputError, KeyError, TypeError):
            continue
    return 512 if choice.is_file and "unet" in _index(choice) else _USUAL_SIDE


def _size(size: float) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / 2**20:.0f} MiB"
