"""The options of composing scenes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from aligndiff.composition.recipe import SceneRecipe
from aligndiff.core.options import MAX_SEED, Options, option
from aligndiff.dataset.samples import EXCLUDE_HELP

InstanceSource = Literal["real", "consensus", "pseudo_label"]
_SOURCES: tuple[InstanceSource, ...] = ("real", "consensus", "pseudo_label")


@dataclass(frozen=True)
class MaterialOptions(Options):
    """What scenes are made of."""

    backgrounds: tuple[Path, ...] = option(
        (),
        "folders of photos without the object: plain ones, or with masks or annotations of what is "
        "in them (COCO, VOC and all that prepare_dataset reads) (default: those that "
        "draw_backgrounds has drawn)",
    )
    sources: tuple[InstanceSource, ...] = option(
        _SOURCES, "which instances to paste: of real pairs, and of samples by their mask"
    )
    exclude: Path | None = option(None, EXCLUDE_HELP)


@dataclass(frozen=True)
class SceneConfig(Options):
    """How many scenes to compose, and how. All but `count` decides their pixels."""

    count: int = option(1000, "scenes of each category", 1, 10**7)
    negatives: float = option(0.33, "share of the scenes without the object", 0, 1)
    several: float = option(
        SceneRecipe.several,
        "share of the scenes on backgrounds that hold two or three objects",
        0,
        1,
    )
    side: tuple[int, ...] = option(
        (),
        "side of the scenes, or height and width",
        32,
        4096,
        unit="px",
        shown_default="that of the samples, else 512",
    )
    seed: int = option(0, "random seed; combined with category and index", 0, MAX_SEED)
    image_format: Literal["jpg", "png"] = option(
        "jpg", "jpg is quality 95 without chroma subsampling"
    )

    @property
    def recipe(self) -> SceneRecipe:
        """The recipe of a scene. A pair with nothing pasted on it would be no scene."""
        return replace(SceneRecipe(), several=self.several, other_on_pair=1.0)

    def contradictions(self) -> list[str]:
        if len(self.side) > 2:
            return ["--side: takes one number, or two: height and width"]
        return []
