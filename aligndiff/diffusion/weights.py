"""Which weights a run uses and who said so. Looks at files only: nothing is loaded here.

The exception is `load_tokenizer`, which reads the (small) tokenizer of a diffusion model.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.files import file_fingerprint, fingerprint, read_json
from aligndiff.diffusion.hub import unreachable_hub

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

Loaded = TypeVar("Loaded")

logger = logging.getLogger(__name__)

TINY = "tiny"
DEFAULT_DIFFUSION_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
WEIGHTS_DIR = Path(__file__).resolve().parents[2] / "pretrained_weights"
OFFER_TINY_MODEL = "to try things out without it: --diffusion_model tiny"
PIPELINE_CLASS = "StableDiffusionPipeline"
READ_AT_MOST = 64 * 2**20  # bytes of a weight file that its fingerprint reads
SPECIAL_TOKENS = 3  # start, end, padding: CLIP has no others
# Hub names are "owner/name", each of letters, digits, dots, dashes and underscores.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Chosen:
    """The weights of a run: `name` as the user knows it, `location` as a loader takes it."""

    name: str
    location: str | Path  # a Path is on this machine, a str is a hub name
    said_by: str  # "command line", "dataset.json" or "built-in default"

    def __str__(self) -> str:
        return f"{self.name} ({self.said_by})"


def resolve_diffusion_model(flag: str | None, default: str | None) -> Chosen:
    """The diffusion model: the flag, else `default` (of dataset.json), else Stable Diffusion 1.5.

    Raises InputError when the name is neither "tiny", nor a diffusers folder of a Stable Diffusion
    pipeline, nor a hub name; MissingWeightsError when it is a folder that is not there.
    """
    name, said_by = _who_says(flag, default)
    if name is None:
        return Chosen(DEFAULT_DIFFUSION_MODEL, DEFAULT_DIFFUSION_MODEL, "built-in default")
    folder = WEIGHTS_DIR / TINY if name == TINY else _path(name)
    if os.path.isdir(folder):
        _check_pipeline_folder(folder, name)
        return Chosen(name, folder, said_by)
    if name == TINY:
        raise MissingWeightsError(
            f"diffusion model tiny ({said_by}): {folder} is not there; restore it from the "
            "repository"
        )
    if HUB_NAME.fullmatch(name):
        return Chosen(name, name, said_by)
    raise MissingWeightsError(
        f"diffusion model {name} ({said_by}): no such folder, and a hub name has the form "
        f"owner/name; {OFFER_TINY_MODEL}"
    )


def resolve_checkpoint(
    flag: str | None, default: str | None, option: str = "--fss_ckpt_path"
) -> Chosen:
    """The segmenter's checkpoint file: the flag, else `default` of dataset.json.

    Raises MissingWeightsError when nobody names one or the file is not there. `option` is how the
    flag is called.
    """
    offer_tiny = f"to try things out without it: {option} tiny"
    name, said_by = _who_says(flag, default)
    if name is None:
        raise MissingWeightsError(
            f"no segmenter checkpoint: give {option} FILE (docs/PREPARE.md says where to get one); "
            f"{offer_tiny}"
        )
    path = WEIGHTS_DIR / "tiny_ssp.safetensors" if name == TINY else _path(name)
    if not os.path.isfile(path):
        offer = "restore it from the repository" if name == TINY else offer_tiny
        raise MissingWeightsError(
            f"segmenter checkpoint {name} ({said_by}): no file {path}; docs/PREPARE.md says where "
            f"to get one; {offer}"
        )
    return Chosen(name, path, said_by)


def model_identity(chosen: Chosen) -> str:
    """What a record says of a diffusion model: a hub name, or a folder's name and fingerprint.

    The fingerprint covers the folder's files, byte by byte where they are small. Of gigabytes of
    weights only the size counts: reading them would take longer than starting does.
    """
    if isinstance(chosen.location, str):
        return chosen.location
    folder = chosen.location
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    contents = {
        path.relative_to(folder).as_posix(): file_fingerprint(path)
        if path.stat().st_size <= READ_AT_MOST
        else path.stat().st_size
        for path in files
        if path.suffix in (".json", ".txt", ".safetensors", ".bin")
    }
    return f"{folder.resolve().name} {fingerprint(contents)}"


def load_tokenizer(chosen: Chosen) -> CLIPTokenizer:
    """The tokenizer of a diffusion model alone, to count the tokens of a prompt.

    Raises MissingWeightsError when it is neither on this machine nor to be had from the hub.
    """
    quiet_loading()
    from transformers import CLIPTokenizer

    def load(local_only: bool) -> CLIPTokenizer:
        tokenizer = CLIPTokenizer.from_pretrained(
            chosen.location, subfolder="tokenizer", local_files_only=local_only
        )
        check_vocabulary(tokenizer)
        return tokenizer

    return from_disk_or_hub(chosen, load)


def from_disk_or_hub(chosen: Chosen, load: Callable[[bool], Loaded]) -> Loaded:
    """What `load(local_files_only)` gives: from this machine, else from the hub.

    Raises MissingWeightsError, at once where the hub cannot be reached: the hub client by itself
    would try again for minutes.
    """
    try:
        return load(True)
    except Exception as error:  # files, configs and the hub client fail in many families
        reason = error
    if isinstance(chosen.location, str):
        if silence := unreachable_hub():
            raise missing_model(chosen, silence) from reason
        logger.warning("%s is not on this machine: asking the hub for it", chosen.name)
        try:
            return load(False)
        except Exception as error:
            reason = error
    raise missing_model(chosen, str(reason)) from reason


def check_vocabulary(tokenizer: CLIPTokenizer) -> None:
    """Raise OSError for a tokenizer without words.

    That is what the library makes, without a word of warning, where vocab.json is missing.
    """
    if tokenizer.vocab_size <= SPECIAL_TOKENS:
        raise OSError("the tokenizer's vocab.json or merges.txt is missing")


def quiet_loading() -> None:
    """Keep the model libraries' own bars and advice off the screen; our errors say what matters.

    They set their levels when they are imported, and complain while they import their parts: so
    this comes after `import transformers` and before anything is taken from either.
    """
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    import diffusers

    diffusers.utils.logging.set_verbosity(logging.CRITICAL)
    diffusers.utils.logging.disable_progress_bar()


def missing_model(chosen: Chosen, reason: str) -> MissingWeightsError:
    """One line for weights that could not be loaded: what was looked for, why, what to do."""
    words = " ".join(reason.split())
    short = words if len(words) <= 160 else words[:157] + "..."
    where = "folder" if isinstance(chosen.location, Path) else "hub or its local cache"
    no_folder = "" if isinstance(chosen.location, Path) else "no such folder, and "
    return MissingWeightsError(
        f"diffusion model {chosen}: {no_folder}cannot be loaded from the {where} ({short}); "
        f"docs/PREPARE.md says how to get it; {OFFER_TINY_MODEL}"
    )


def _path(name: str) -> Path:
    """`name` as a path; "~" is the user's folder, "~somebody" of nobody stays as it is."""
    return Path(os.path.expanduser(name))


def _who_says(flag: str | None, default: str | None) -> tuple[str | None, str]:
    return (flag, "command line") if flag is not None else (default, "dataset.json")


def _check_pipeline_folder(folder: Path, name: str) -> None:
    """Refuse a folder that does not hold a Stable Diffusion 1.x or 2.x pipeline."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise InputError(
            f"diffusion model {name}: {folder} has no model_index.json, so it is not a diffusers "
            f"folder; {OFFER_TINY_MODEL}"
        )
    contents = read_json(index)
    kind = contents.get("_class_name") if isinstance(contents, dict) else "JSON file without keys"
    if kind != PIPELINE_CLASS:
        raise InputError(
            f"diffusion model {name}: {index} is a {kind}; only {PIPELINE_CLASS} (Stable Diffusion "
            f"1.x and 2.x) works here; {OFFER_TINY_MODEL}"
        )
