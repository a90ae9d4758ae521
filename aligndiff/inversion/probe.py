"""How far learning has come: Eq. 3 on the same views, noise levels and noise every time.

The loss of a training step depends on its draws more than on what has been learned. The probe draws
by a generator of its own, so that a run is the same with it and without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aligndiff.dataset.images import Uint8
from aligndiff.dataset.records import InversionRecord
from aligndiff.dataset.samples import sample_seed
from aligndiff.inversion.config import PROBE_EVERY, InversionConfig
from aligndiff.render.plot import SIZE, loss_plot, probe_plot

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from aligndiff.inversion.latents import Batch, SupportLatents

VIEWS = 6  # of one evaluation; every 10 steps of the method it takes 4 % of the time
# Of all that the loss has fallen: what counts as a fall.
LEAST_FALL = 0.02


class Probe:
    """The views to compare by, and their losses so far: one every `PROBE_EVERY` steps."""

    def __init__(
        self, pipe: DiffusionPipeline, support: SupportLatents, config: InversionConfig
    ) -> None:
        import torch

        from aligndiff.diffusion.pipeline import family_of
        from aligndiff.diffusion.prediction import NoiseSchedule
        from aligndiff.inversion.latents import fixed_batch

        generator = torch.Generator().manual_seed(sample_seed(config.seed, "probe", 0))
        schedule = NoiseSchedule(pipe.scheduler, family_of(pipe).flow)
        self.batch: Batch = fixed_batch(support, schedule, VIEWS, generator, config.timestep_range)
        self.losses: list[float] = []
        self._steps, self._patience = config.inversion_steps, config.patience

    def is_due(self, steps: int) -> bool:
        """Whether to evaluate what so many steps have learned; not in a run of a few steps."""
        return steps % PROBE_EVERY == 0 and self._steps > PROBE_EVERY

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """The losses with the number of steps before each."""
        return tuple((PROBE_EVERY * n, round(loss, 6)) for n, loss in enumerate(self.losses))

    @property
    def says_stop(self) -> bool:
        """Whether learning may end, by `--patience`."""
        return self._patience is not None and is_flat(self.losses, self._patience)


def is_flat(losses: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` losses have not fallen below those before by what counts."""
    before, last = losses[:-patience], losses[-patience:]
    if not before:
        return False
    fallen = losses[0] - min(before)
    return min(before) - min(last) <= LEAST_FALL * fallen


def learning_plot(
    record: InversionRecord,
    name: str,
    title: str | None = None,
    size: tuple[int, int] = SIZE,
) -> Uint8:
    """How a run went, uint8 RGB (h, w, 3): the probe's losses, else those of its steps.

    Without a title the plot has that of its kind.
    """
    titles = {} if title is None else {"title": title}
    if record.probe:
        return probe_plot({name: record.probe}, size=size, **titles)
    return loss_plot({name: record.loss}, size=size, **titles)
