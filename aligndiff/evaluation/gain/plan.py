"""Which trainings an evaluation is made of, and which of them are needed next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from aligndiff.evaluation.gain.classes import GainClass
from aligndiff.evaluation.gain.config import GainConfig
from aligndiff.evaluation.gain.recipes import RECIPES, GainRecipe
from aligndiff.evaluation.gain.units import REAL, SYNTHETIC, Choice, GainUnit

ARMS = (REAL, SYNTHETIC)


@dataclass(frozen=True)
class Contest:
    """What is compared: the best recipe of each arm among those of some learners."""

    name: str  # as the table calls it
    recipes: tuple[GainRecipe, ...]


@dataclass(frozen=True)
class GainPlan:
    """The classes, and how often everything is drawn.

    `recipes` are those of the list that can be tried here; `folds` is 1 where there are tests;
    `chooses` says whether there is anything to choose recipes by.
    """

    classes: tuple[GainClass, ...]
    config: GainConfig
    recipes: tuple[GainRecipe, ...]
    folds: int
    chooses: bool

    @property
    def holds_out(self) -> bool:
        """Whether recipes are chosen by real pairs that are held out for it."""
        return self.config.val_dir is None

    @property
    def contests(self) -> list[Contest]:
        """All recipes, and those of each kind of segmenter where there are several kinds."""
        network = tuple(recipe for recipe in self.recipes if recipe.learner == "network")
        few_shot = tuple(recipe for recipe in self.recipes if recipe.learner != "network")
        kinds = [Contest("network", network), Contest("few-shot", few_shot)]
        return [Contest("best of all", self.recipes), *(kinds if network and few_shot else [])]

    def of_class(self, category: str) -> GainClass:
        """The class of this name; KeyError without one."""
        return {pairs.category: pairs for pairs in self.classes}[category]

    def candidates(self, arm: str) -> list[GainUnit]:
        """The trainings that an arm's recipe is chosen by: none where there is nothing to do so."""
        if not self.chooses:
            return []
        draws = range(self.config.choosing_draws)
        return [
            unit
            for recipe in self.recipes
            for unit in self._units(arm, recipe, draws, range(1), None, self.holds_out)
        ]

    def finals(self, arm: str, recipe: GainRecipe, samples: int | None = None) -> list[GainUnit]:
        """The trainings of an arm by its recipe, with all samples or so many: every draw, seed."""
        draws, seeds = range(self.config.draws), range(self.config.seeds)
        return self._units(arm, recipe, draws, seeds, samples, False)

    def counts(self) -> list[int]:
        """Numbers of samples to plot, below the most that a class has."""
        most = max(len(pairs.samples) for pairs in self.classes)
        return sorted(count for count in set(self.config.counts) if count < most)

    def needed(self, choices: dict[tuple[str, str], Choice]) -> list[GainUnit]:
        """Every training of the table and the plot, once recipes are chosen.

        `choices` are by contest and arm.
        """
        units = []
        for (_, arm), choice in choices.items():
            units += self.finals(arm, choice.recipe)
        best = choices[self.contests[0].name, SYNTHETIC].recipe
        for count in self.counts():
            units += self.finals(SYNTHETIC, best, count)
        return list(dict.fromkeys(units))

    def possible(self) -> list[GainUnit]:
        """Every training that may be needed, whatever is chosen; a unit's number is its place."""
        units = [unit for arm in ARMS for unit in self.candidates(arm)]
        for arm, recipe in product(ARMS, self.recipes):
            units += self.finals(arm, recipe)
        for recipe, count in product(self.recipes, self.counts()):
            units += self.finals(SYNTHETIC, recipe, count)
        return list(dict.fromkeys(units))

    def _units(
        self,
        arm: str,
        recipe: GainRecipe,
        draws: Sequence[int],
        seeds: Sequence[int],
        samples: int | None,
        held_out: bool,
    ) -> list[GainUnit]:
        if not recipe.is_trained:
            seeds = seeds[:1]  # nothing in it is random
        return [
            GainUnit(
                pairs.category,
                arm,
                recipe.name,
                self._samples(pairs, arm, samples),
                draw,
                fold,
                seed,
                held_out,
            )
            for draw, pairs, fold, seed in product(draws, self.classes, range(self.folds), seeds)
        ]

    def _samples(self, pairs: GainClass, arm: str, samples: int | None) -> int:
        most = len(pairs.samples) if arm == SYNTHETIC else 0
        return most if samples is None else min(samples, most)


def plan_gain(
    classes: Sequence[GainClass],
    config: GainConfig,
    recipes: Sequence[str],
    has_surroundings: bool,
    has_few_shot: bool,
    can_adapt: bool,
) -> GainPlan:
    """The plan for what there is: recipes that cannot be tried are left out of the list."""
    usable = [
        recipe
        for recipe in RECIPES.values()
        if recipe.name in recipes
        and (has_surroundings or not recipe.needs_backgrounds)
        and (has_few_shot or recipe.learner == "network")
        and (can_adapt or recipe.learner != "few_shot")
    ]
    least = min(len(pairs.real) for pairs in classes)
    folds = 1 if config.test_dir is not None else min(config.folds, least)
    learned = least if folds == 1 else least - -(-least // folds)
    chooses = config.val_dir is not None or learned > 1
    return GainPlan(tuple(classes), config, tuple(usable), folds, chooses)


def left_out(plan: GainPlan, recipes: Sequence[str]) -> Iterator[str]:
    """The names of the recipes that were asked for and cannot be tried."""
    usable = {recipe.name for recipe in plan.recipes}
    yield from (name for name in recipes if name not in usable)
