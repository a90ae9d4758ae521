"""Which of the command line's schedulers suit a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json
from aligndiff.core.weights import ModelChoice
from aligndiff.diffusion.choice import with_options
from aligndiff.diffusion.families import FAMILIES, Family
from aligndiff.diffusion.load import class_of
from aligndiff.diffusion.model_files import model_file
from aligndiff.diffusion.single_file.kinds import is_v_prediction

SCHEDULER_CONFIG = "scheduler/scheduler_config.json"


def check_scheduler(name: str, chosen: ModelChoice) -> None:
    """Raise InputError for a --scheduler that the model cannot draw with, as far as files tell.

    A model that is still on the hub is not asked: then `suits` finds out when it is loaded.
    """
    kind = class_of(chosen)
    if kind is not None:
        suits(name, FAMILIES[kind], _config(chosen))


def suits(name: str, family: Family, config: Mapping[str, Any]) -> None:
    """Raise InputError for a scheduler that does not suit a family, or a model's own configuration.

    PNDM divides by the signal of the noisiest step, which is none where the signal-to-noise ratio
    ends at zero.
    """
    if name == "default":
        return
    if family.flow:
        raise InputError(
            f"--scheduler {name}: {family.title} is a model of flow matching, which draws by its "
            "own scheduler; leave it out"
        )
    if family.conditional == "all":
        raise InputError(
            f"--scheduler {name}: {family.title} is distilled for its own scheduler; leave it out"
        )
    if name == "pndm" and config.get("rescale_betas_zero_snr"):
        raise InputError(
            "--scheduler pndm: the model's noise levels end in pure noise (zero signal-to-noise "
            "ratio), which PNDM cannot start from; use default or dpm++"
        )


def _config(chosen: ModelChoice) -> Mapping[str, Any]:
    """The configuration of the model's scheduler; empty where nothing here tells."""
    choice = with_options(chosen)
    if choice.is_file and choice.base is None:
        return {"rescale_betas_zero_snr": all(is_v_prediction(choice.location))}  # type: ignore[arg-type]
    try:
        config = read_json(model_file(choice.configs.location, SCHEDULER_CONFIG, local_only=True))
    except (OSError, InputError):
        return {}
    return config if isinstance(config, dict) else {}
