"""The one written list of training recipes: every arm picks its best from it, on validation.

What is pasted is what the arm has: the real pairs alone, or real and synthetic pairs by halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Learner = Literal["network", "few_shot", "support"]


@dataclass(frozen=True)
class GainRecipe:
    """How a segmenter comes to be from pairs.

    Attributes:
        name: as it is typed.
        words: as tables call it.
        learner: an ordinary network, the few-shot segmenter trained further, or the few-shot
            segmenter as it is, with the pairs as its support.
        augmentation: which random changes; see `segmenters.trained.augment`.
        composed: share of a batch in which the pairs are pasted into backgrounds.
        negatives: share of a batch without the object.
        steps: share of the budget's steps after which it ends.
    """

    name: str
    words: str
    learner: Learner = "network"
    augmentation: Literal["usual", "strong", "erasing"] = "usual"
    composed: float = 0.0
    negatives: float = 0.0
    steps: float = 1.0

    @property
    def needs_backgrounds(self) -> bool:
        return self.composed + self.negatives > 0

    @property
    def is_trained(self) -> bool:
        return self.learner != "support"


_THIRD = 1 / 3
_LIST = (
    GainRecipe("usual", "usual augmentation"),
    GainRecipe("strong", "strong augmentation", augmentation="strong"),
    GainRecipe("erasing", "random erasing", augmentation="erasing"),
    GainRecipe("negatives", "strong, negatives", "network", "strong", 0, _THIRD),
    GainRecipe("paste", "copy-paste", "network", "usual", _THIRD, _THIRD),
    GainRecipe(
        "strong_paste", "strong, copy-paste, negatives", "network", "strong", _THIRD, _THIRD
    ),
    GainRecipe("short", "the same, stopped early", "network", "strong", _THIRD, _THIRD, 0.4),
    GainRecipe("few_shot", "few-shot, as it is", "support"),
    # A matcher answers with something wherever it looks: negatives would only teach it silence.
    GainRecipe("few_shot_paste", "few-shot, trained", "few_shot", "usual", 0.5),
)
RECIPES = {recipe.name: recipe for recipe in _LIST}
USUAL_CHOICE = "strong_paste"  # where nothing is left to choose by: what won on the tiny world
