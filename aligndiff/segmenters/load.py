"""Which segmenters there are, which of them a run uses, and its loading.

This is the only place that knows them: a new one is a module and a line of `SEGMENTERS`. The module
has `resolve_checkpoint(flag, default)`, which finds the weights and loads nothing, and
`load(choice, device, dtype, batch_size)`, which gives the `Segmenter`; it imports torch in there.
It may have `identity(choice)`, what a record says of the weights; else a file's fingerprint is.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.files import file_fingerprint
from aligndiff.core.options import Options, option
from aligndiff.core.weights import ModelChoice

if TYPE_CHECKING:
    import torch

    from aligndiff.segmenters.base import Segmenter
    from aligndiff.segmenters.trained.augment import Augmentation
    from aligndiff.segmenters.trained.batches import Source
    from aligndiff.segmenters.trained.learn import Budget

SEGMENTERS = {
    "ssp": "aligndiff.segmenters.ssp.load",
    "features": "aligndiff.segmenters.features.load",
    "seggpt": "aligndiff.segmenters.seggpt.load",
    "sam3": "aligndiff.segmenters.sam3.load",
}
AUTO = "auto"
CHECKPOINTED = "ssp"  # whose weights --fss_ckpt_path and dataset.json name


@dataclass(frozen=True)
class SegmenterOptions(Options):
    """Which few-shot segmenter, with which weights."""

    segmenter: str = option(
        AUTO,
        "which few-shot segmenter; auto: ssp where a checkpoint is named, else features of DINOv2 "
        "if the hub can be reached, else of the extra 'photos'",
        choices=ChainMap(SEGMENTERS, {AUTO: ""}),
    )
    fss_ckpt_path: str | None = option(
        None,
        "weights of ssp: 'tiny', or a checkpoint file",
        shown_default="the one of dataset.json",
    )
    segmenter_model: str | None = option(
        None,
        "weights of another segmenter: a hub name, a folder, or a name of docs/SEGMENTERS.md",
        shown_default="the segmenter's own",
    )

    def contradictions(self) -> list[str]:
        """One segmenter has one set of weights."""
        if self.fss_ckpt_path is None or self.segmenter_model is None:
            return []
        return ["--fss_ckpt_path, --segmenter_model: both name the segmenter's weights; give one"]


@dataclass(frozen=True)
class SegmenterChoice:
    """A segmenter by its name in `SEGMENTERS`, and its weights."""

    name: str
    weights: ModelChoice

    def __str__(self) -> str:
        return f"{self.name}, {self.weights}"

    @property
    def identity(self) -> str:
        """What a record says of it: the segmenter, its weights, and their fingerprint."""
        module = _module(self.name)
        if hasattr(module, "identity"):
            return f"{self.name} {module.identity(self.weights)}"
        path = Path(self.weights.location)
        file = f"{path.name} {file_fingerprint(path)}"
        return file if self.name == CHECKPOINTED else f"{self.name} {file}"


def choose_segmenter(options: SegmenterOptions, default: str | None = None) -> SegmenterChoice:
    """The segmenter of `options`, with the weights they name, else `default` (of dataset.json).

    Raises MissingWeightsError when nobody names any, or they are not there. Loads nothing.
    """
    named = options.segmenter_model or options.fss_ckpt_path
    if options.segmenter != AUTO:
        weights = _module(options.segmenter).resolve_checkpoint(named, default)
        return SegmenterChoice(options.segmenter, weights)
    if options.segmenter_model is None and (named or default):
        return SegmenterChoice(
            CHECKPOINTED, _module(CHECKPOINTED).resolve_checkpoint(named, default)
        )
    return SegmenterChoice("features", _module("features").choose_weights(named))


def load_segmenter(
    choice: SegmenterChoice, device: str = "auto", precision: str = "auto", batch_size: int = 8
) -> Segmenter:
    """The segmenter on a device, in a number format; both by the words of the command line.

    `batch_size`: images that it encodes at once. Raises InputError for weights that are not its.
    """
    from aligndiff.core.device import choose_device, choose_dtype

    place = choose_device(device)
    dtype = choose_dtype(precision, place)
    segmenter: Segmenter = _module(choice.name).load(choice.weights, place, dtype, batch_size)
    return segmenter


def can_adapt(name: str) -> bool:
    """Whether the segmenter of this name can be trained further by `adapt_segmenter`."""
    return hasattr(_module(name), "adapt")


def adapt_segmenter(
    choice: SegmenterChoice,
    support: Sequence[Source],
    queries: Sequence[Source],
    augmentation: Augmentation,
    budget: Budget,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    advance: Callable[[], None] = lambda: None,
) -> Segmenter:
    """The segmenter trained further for one class: `queries` segmented by `support`.

    Only for one that `can_adapt`; where a step has half of its images from either.
    """
    segmenter: Segmenter = _module(choice.name).adapt(
        choice.weights, support, queries, augmentation, budget, seed, device, dtype, advance
    )
    return segmenter


def _module(name: str) -> Any:
    return import_module(SEGMENTERS[name])
