"""The pairs of the gain: real ones, synthetic ones in every form, fresh scenes to test on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from aligndiff.composition.surroundings import Surroundings, surroundings
from aligndiff.core.errors import InputError
from aligndiff.dataset.images import OBJECT
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import StoredSample, read_sample, sample_indices
from aligndiff.dataset.support import SupportPair, load_support
from aligndiff.refinement.config import RefinementConfig
from scripts.tiny_world.measure.judge import WEIGHTS, Judge, judge_images, load_judge
from scripts.tiny_world.train.ssp import base_scene
from scripts.tiny_world.world.example import (
    BASE_CATEGORIES,
    EXAMPLE_KINDS,
    EXAMPLES,
    resembles_an_example,
)
from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.scene import random_look, random_scene, render

# Seeds of scenes, far from those of all training scenes; the object's number goes into the next
# digits. "validation" scenes choose recipes, "company" and "alone" are tested on.
FIRST_SCENES = {
    ("validation", False): 97_000_000,
    ("validation", True): 97_500_000,
    ("test", False): 95_000_000,
    ("test", True): 95_500_000,
    ("true", True): 96_000_000,
}
BASE_SCENES = 98_000_000
Level = Literal["category", "object"]  # any kind and look, or those of the example object
Masks = Literal["mask", "consensus", "heatmap", "judge"]


def scenes(use: str, category: str, count: int, alone: bool, level: Level) -> list[SupportPair]:
    """Rendered scenes with the exact mask of their first thing.

    The other thing is never of an example's category or look: whoever learns from five pairs has
    other things of the base categories, and these alone.
    """
    seed = FIRST_SCENES[use, alone] + 100_000 * list(EXAMPLES).index(category)
    seed += 50_000 if level == "object" else 0
    look = EXAMPLES[category] if level == "object" else None
    kind = EXAMPLE_KINDS[category] if level == "object" else None
    pairs: list[SupportPair] = []
    while len(pairs) < count:
        scene = random_scene(seed, category, look, alone, kind)
        seed += 1
        if all(_is_base(thing.category, thing.look) for thing in scene.things[1:]):
            drawn = render(scene)
            pairs.append(SupportPair(str(seed), drawn.image, drawn.masks[0].astype(np.uint8)))
    return pairs


def _is_base(category: str, look: Look) -> bool:
    return category in BASE_CATEGORIES and not resembles_an_example(look)


@lru_cache(maxsize=1)
def base_surroundings(count: int) -> Surroundings:
    """Scenes of base categories with their masks, which every arm has beside its pairs."""
    rng, pairs = np.random.default_rng((BASE_SCENES, 76)), []
    for number in range(count):
        category = BASE_CATEGORIES[number % len(BASE_CATEGORIES)]
        look = random_look(rng)
        while resembles_an_example(look):
            look = random_look(rng)
        drawn = render(base_scene(rng, category, look))
        pairs.append(SupportPair(category, drawn.image, drawn.masks[0].astype(np.uint8)))
    return surroundings((), pairs)


def real_pairs(folder: Path, count: int, draw: int) -> list[SupportPair]:
    """``count`` of the support pairs of a folder; of fewer, each draw has others."""
    support = load_support(folder)
    if len(support) < count:
        raise InputError(
            f"{folder}: has {len(support)} support pairs, {count} are needed; add some"
        )
    return [support[(draw + at) % len(support)] for at in range(count)]


def synthetic_pairs(
    dataset: Path,
    category: str,
    masks: Masks,
    most: int,
    seed: int,
    judge_file: Path = WEIGHTS,
) -> list[SupportPair]:
    """Up to ``most`` samples that step 3 kept; with the same seed fewer are a part of more.

    The samples are the same whatever their masks are, but of ``consensus`` those alone count, which
    may be none.
    """
    kept = list(_refined(dataset, category))
    if not kept:
        raise InputError(f"{dataset}: no {category} has a mask; run the three steps on it")
    if masks == "consensus":
        kept = [sample for sample in kept if sample.record.mask_source == "consensus"]
    order = np.random.default_rng((seed, 75)).permutation(len(kept))[:most]
    chosen = [kept[at] for at in order]
    if not chosen:
        return []
    images = [sample.read_image() for sample in chosen]
    if masks == "judge":
        verdicts = judge_images(_judge(judge_file), np.stack(images), category)
        drawn = [verdict.mask for verdict in verdicts]
    else:
        drawn = list(map(_mask_of(dataset, masks), chosen))
    pairs = zip(chosen, images, drawn, strict=True)
    labelled = [SupportPair(s.name, image, mask.astype(np.uint8)) for s, image, mask in pairs]
    return [pair for pair in labelled if (pair.mask == OBJECT).any()]


def _refined(dataset: Path, category: str) -> Iterator[StoredSample]:
    for entry in load_prompt_bank(dataset, (category,)).entries:
        place = EntryFolder(dataset, entry)
        for index in sample_indices(place):
            sample = read_sample(place, index)
            if sample.record.status == "refined":
                yield sample


def _mask_of(dataset: Path, masks: Masks) -> Callable[[StoredSample], np.ndarray]:
    if masks != "heatmap":
        return StoredSample.read_mask
    known = load_prompt_bank(dataset).defaults.heatmap_threshold
    threshold = 255 * (RefinementConfig().heatmap_threshold if known is None else known)
    return lambda sample: sample.read_heatmap() > threshold


@lru_cache(maxsize=1)
def _judge(path: Path) -> Judge:
    return load_judge(path)
