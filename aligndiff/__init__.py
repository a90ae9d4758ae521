"""AlignDiff: from a handful of annotated photos of an object, an image + mask dataset of it.

    import aligndiff

    pairs = aligndiff.read_support("example_dataset/fish")
    model = aligndiff.load_diffusion_model("tiny")
    fish = aligndiff.learn_embedding(model, pairs, "fish")
    samples = aligndiff.generate(model, "fish", count=8, embedding=fish)
    segmenter = aligndiff.load_segmenter("tiny")
    masks = aligndiff.refine_masks(segmenter, pairs, samples)

The names are those of `aligndiff.api`, which loads torch when the first of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aligndiff.api import (
        RefinedMask,
        generate,
        learn_embedding,
        load_diffusion_model,
        load_segmenter,
        read_dataset,
        read_support,
        refine_masks,
    )

__version__ = "0.1.0"

__all__ = [
    "RefinedMask",
    "generate",
    "learn_embedding",
    "load_diffusion_model",
    "load_segmenter",
    "read_dataset",
    "read_support",
    "refine_masks",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aligndiff import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
