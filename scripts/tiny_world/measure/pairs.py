"""The images and masks of the gain: real pairs, synthetic pairs, and fresh scenes to test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.dataset.entries import EmbeddingEntry
from aligndiff.dataset.images import OBJECT, resize_image, resize_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import read_sample, sample_indices
from aligndiff.dataset.support import load_support
from scripts.tiny_world.world.example import EXAMPLES, example_scene, resembles_an_example
from scripts.tiny_world.world.scene import SIDE, render

FIRST_SCENE = 95_000_000  # far from the seeds of all training scenes and of the real pairs


@dataclass(frozen=True)
class Pairs:
    """``images`` uint8 (n, h, w, 3) and ``masks`` bool (n, h, w), h and w being SIDE."""

    images: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def load_real_pairs(folder: Path, count: int, seed: int) -> Pairs:
    """``count`` of the support pairs of a folder: which ones follows from the seed."""
    support = load_support(folder)
    if len(support) < count:
        raise InputError(
            f"{folder}: has {len(support)} support pairs, {count} are needed; add some"
        )
    chosen = [support[at] for at in _some(len(support), count, seed)]
    return _stack([(pair.image, pair.mask == OBJECT) for pair in chosen])


def load_synthetic_pairs(dataset_dir: Path, category: str, count: int, seed: int) -> Pairs:
    """``count`` of the samples of a category that step 3 gave a mask, or all if there are fewer.

    Only those drawn with a learned embedding show the object; a text may dress it in any look.
    Consensus samples and pseudo-labels alike, as a user would take all that was kept. The choice
    follows from the seed, and with the same seed a smaller choice is part of a larger one.
    """
    found = [
        sample
        for entry in load_prompt_bank(dataset_dir, (category,)).entries
        if isinstance(entry, EmbeddingEntry)
        for place in [EntryFolder(dataset_dir, entry)]
        for sample in (read_sample(place, at) for at in sample_indices(place))
        if sample.record.status == "refined"
    ]
    if not found:
        problem = f"{dataset_dir}: no {category} has a mask from a learned word"
        raise InputError(f"{problem}; run the three steps on an NM_embedding entry of it")
    chosen = [found[at] for at in _some(len(found), count, seed)]
    return _stack([(sample.read_image(), sample.read_mask()) for sample in chosen])


def crowded_scenes(category: str, count: int) -> Pairs:
    """Scenes of an example object beside a thing of another category, which never wears its look.

    The masks are exact: the pixels of the example object that can be seen.
    """
    # Each object among other things than the other one.
    drawn, seed = [], FIRST_SCENE + 100_000 * list(EXAMPLES).index(category)
    while len(drawn) < count:
        scene = example_scene(seed, category, alone=False)
        seed += 1
        if not resembles_an_example(scene.things[1].look):
            rendering = render(scene)
            drawn.append((rendering.image, rendering.masks[0]))
    return _stack(drawn)


def join(first: Pairs, second: Pairs) -> Pairs:
    return Pairs(
        np.concatenate([first.images, second.images]), np.concatenate([first.masks, second.masks])
    )


def _some(total: int, count: int, seed: int) -> list[int]:
    """``count`` of ``total`` numbers (all if there are fewer), in a random order."""
    return np.random.default_rng((seed, 75)).permutation(total)[:count].tolist()


def _stack(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Pairs:
    """Images uint8 (h, w, 3) with masks bool (h, w) of any size, all brought to SIDE x SIDE."""
    size = SIDE, SIDE
    masks = [resize_mask(mask.astype(np.uint8), size) == OBJECT for _, mask in pairs]
    return Pairs(np.stack([resize_image(image, size) for image, _ in pairs]), np.stack(masks))
