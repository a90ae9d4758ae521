"""Company told apart by the diffusion model: `--regions denoising`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.diffusion.choice import DiffusionChoice
from aligndiff.diffusion.load import model_identity, resolve_diffusion_model
from aligndiff.refinement.config import DENOISING, RefinementConfig

OTHERS_AT_MOST = 8  # categories: each costs a pass over the image at every level of noise
PROMPT = "a photo of a {}"


@dataclass(frozen=True)
class Judging:
    """Which diffusion model is asked about regions, and which categories it tells apart."""

    model: DiffusionChoice
    categories: tuple[str, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """What of it decides the masks, for the records."""
        return {
            "region_model": model_identity(self.model),
            "region_categories": list(self.categories),
        }

    def judge(self, pipe: Any, category: str) -> DenoisingJudge:
        """Of one category against the others; of a lone one against the empty prompt."""
        from aligndiff.diffusion.prompts import encode

        others = [PROMPT.format(name) for name in self.categories if name != category]
        encoded = [encode(pipe, text) for text in others[:OTHERS_AT_MOST] or [""]]
        return DenoisingJudge(pipe, encode(pipe, PROMPT.format(category)), tuple(encoded))


@dataclass(frozen=True)
class DenoisingJudge:
    """Says of regions how much rather they show a category than others (`masks.company.Judge`).

    `own` and `others` are encoded prompts of `pipe`.
    """

    pipe: Any
    own: Any
    others: tuple[Any, ...]

    def __call__(
        self, image: NDArray[np.uint8], regions: Sequence[NDArray[np.bool_]]
    ) -> Sequence[float]:
        from aligndiff.diffusion.contrast import denoising_contrasts

        return denoising_contrasts(self.pipe, image, regions, self.own, self.others)


def choose_judging(config: RefinementConfig, bank: PromptBank) -> Judging | None:
    """What --regions denoising asks; None for the other ways. Loads nothing.

    All categories of dataset.json are told apart, whichever of them are refined in this run.
    Raises InputError or MissingWeightsError as `resolve_diffusion_model` does.
    """
    if config.regions != DENOISING:
        return None
    model = resolve_diffusion_model(config.region_model, bank.defaults.diffusion_model)
    return Judging(model, tuple(load_prompt_bank(bank.root).categories))
