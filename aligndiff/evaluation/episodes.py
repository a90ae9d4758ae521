"""Episodes of few-shot segmentation: a query image and the support that tells what to find in it.

Sampled as HSNet's test does, but that the support images of an episode are always different ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import IGNORE, OBJECT, Uint8, read_image, resize_image, resize_mask
from aligndiff.dataset.support import SupportPair


@dataclass(frozen=True)
class Item:
    """An image that shows a class, and the file that says where.

    `crop` is the part of both that is asked about: (left, top, right, bottom) in pixels, None: all.
    """

    image: Path
    mask: Path
    label: int  # the class's number in the mask file
    crop: tuple[int, int, int, int] | None = None

    @property
    def name(self) -> str:
        return self.image.stem


@dataclass(frozen=True)
class FewShotTest:
    """What a benchmark tests on: the classes of one fold, with all the images of each.

    Attributes:
        title: such as "PASCAL-5i, fold 0".
        items: the images of each class, in a fixed order; an image may belong to several classes.
        read_mask: an item's truth, uint8 (h, w) of 0 background, 1 object, 255 ignore.
        queries: "in turn": every image of every class is a query once before any is one again;
            "by class": a random class, then a random image of it; "class by class": the classes
            in turn, of each a random image.
        usual_episodes: how many episodes the protocol has.
        made_list: the lines of the list of images, when it was made here and not read.
    """

    title: str
    items: Mapping[str, tuple[Item, ...]]
    read_mask: Callable[[Item], Uint8]
    queries: Literal["in turn", "by class", "class by class"] = "in turn"
    usual_episodes: int = 1000
    made_list: tuple[str, ...] = ()


@dataclass(frozen=True)
class Episode:
    """One question to a segmenter; the query is never among its support."""

    category: str
    query: Item
    support: tuple[Item, ...]


def sample_episodes(test: FewShotTest, shot: int, count: int, seed: int) -> list[Episode]:
    """`count` episodes with `shot` support images each, which follow from the seed alone.

    With a larger count the first episodes stay the same. InputError names every class that has
    too few images.
    """
    problems = [
        f"{test.title}: class {category} has {len(items)} image{'s' * (len(items) != 1)}, a query "
        f"and --shot {shot} need {shot + 1}; use a smaller --shot or add images"
        for category, items in test.items.items()
        if len(items) <= shot
    ]
    if problems:
        raise InputError(problems)
    everything = [(category, item) for category, items in test.items.items() for item in items]
    turns = np.random.default_rng((seed, 1)).permutation(len(everything))
    categories = list(test.items)
    episodes = []
    for number in range(count):
        rng = np.random.default_rng((seed, 2, number))
        if test.queries == "in turn":
            category, query = everything[turns[number % len(turns)]]
        else:
            drawn = number if test.queries == "class by class" else rng.integers(len(categories))
            category = categories[drawn % len(categories)]
            query = test.items[category][rng.integers(len(test.items[category]))]
        others = [item for item in test.items[category] if item != query]
        chosen = rng.choice(len(others), shot, replace=False)
        episodes.append(Episode(category, query, tuple(others[at] for at in chosen)))
    return episodes


def load_item(test: FewShotTest, item: Item, side: int) -> SupportPair:
    """An item's image and truth, cropped, and squeezed to `side` x `side` pixels; 0: as they are.

    InputError when a file cannot be read, or when the two differ in size.
    """
    image, mask = read_image(item.image), test.read_mask(item)
    if image.shape[:2] != mask.shape:
        sizes = f"{mask.shape[1]} x {mask.shape[0]} px, its image {image.shape[1]} x"
        raise InputError(
            f"{item.mask}: is {sizes} {image.shape[0]}; put the mask of {item.image} there"
        )
    if item.crop:
        left, top, right, bottom = item.crop
        image, mask = image[top:bottom, left:right], mask[top:bottom, left:right]
    if side:
        image, mask = resize_image(image, (side, side)), resize_mask(mask, (side, side))
    return SupportPair(item.name, image, mask)


def class_mask(labels: Uint8, label: int, ignore: bool) -> Uint8:
    """The mask of one class, uint8 (h, w): 1 where `labels` is `label`, else 0.

    With `ignore`, 255 stays 255; without, it is background like every other class.
    """
    mask = (labels == label).astype(np.uint8) * np.uint8(OBJECT)
    if ignore:
        mask[labels == IGNORE] = IGNORE
    return mask
