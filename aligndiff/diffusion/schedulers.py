"""Other schedulers than a diffusion model's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


@contextmanager
def scheduled(pipe: StableDiffusionPipeline, name: str) -> Iterator[None]:
    """While open, the pipeline draws by another scheduler; afterwards by its own.

    `name` is one of `data.entries.SchedulerName`; "default" changes nothing.
    """
    own = pipe.scheduler
    pipe.scheduler = own if name == "default" else _other(own, name)
    try:
        yield
    finally:
        pipe.scheduler = own


def _other(own: Any, name: str) -> Any:
    """The named scheduler, with the noise levels and the kind of prediction of the model's own."""
    from diffusers import DPMSolverMultistepScheduler, PNDMScheduler

    # Passed on, because what the own configuration leaves to its class would follow the new class.
    kept = {"timestep_spacing": own.config.get("timestep_spacing", "leading")}
    if name == "pndm":
        return PNDMScheduler.from_config(own.config, skip_prk_steps=True, **kept)
    return DPMSolverMultistepScheduler.from_config(
        own.config, algorithm_type="dpmsolver++", solver_order=2, **kept
    )
