"""Schedulers that a model cannot draw with are refused before it is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.diffusion.families import FAMILIES
from aligndiff.diffusion.schedulers import SCHEDULER_CONFIG, check_scheduler


def model(folder: Path, kind: str, **config: object) -> ModelChoice:
    """A folder of the small files that tell, without any weights."""
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    (folder / SCHEDULER_CONFIG).parent.mkdir(exist_ok=True)
    (folder / SCHEDULER_CONFIG).write_text(json.dumps(config))
    return ModelChoice("model", folder, "test")


@pytest.mark.parametrize("kind", FAMILIES)
def test_only_diffusion_models_take_another_scheduler(kind: str, tmp_path: Path) -> None:
    chosen = model(tmp_path, kind)
    check_scheduler("default", chosen)
    takes = kind.startswith(("StableDiffusionP", "StableDiffusionXL", "PixArt"))
    for name in ("dpm++", "pndm"):
        if takes:
            check_scheduler(name, chosen)
            continue
        with pytest.raises(InputError, match="^--scheduler .*; leave it out$") as caught:
            check_scheduler(name, chosen)
        assert FAMILIES[kind].title in str(caught.value)


def test_pndm_cannot_start_from_pure_noise(tmp_path: Path) -> None:
    chosen = model(tmp_path, "StableDiffusionPipeline", rescale_betas_zero_snr=True)
    check_scheduler("dpm++", chosen)
    with pytest.raises(InputError, match="^--scheduler pndm: the model's noise levels end in pure"):
        check_scheduler("pndm", chosen)


def test_a_model_on_the_hub_is_not_asked() -> None:
    check_scheduler("pndm", ModelChoice("no/model", "no/model", "test"))
