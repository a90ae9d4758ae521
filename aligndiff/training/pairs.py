"""The pairs that a segmenter learns from and is tested on, class by class; read when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint, fingerprint
from aligndiff.dataset.images import Uint8
from aligndiff.dataset.mask_class import MaskClass
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.samples import StoredSample, excluded_samples, stored_samples
from aligndiff.dataset.scenes import SCENE, StoredScene, stored_scenes
from aligndiff.dataset.support import (
    PairPaths,
    check_support,
    find_pairs,
    load_pair,
    support_fingerprint,
)

Source = Literal["real", "consensus", "pseudo_label", "scene"]


@dataclass(frozen=True)
class Pair:
    """An image with its mask; `name` is unique among the pairs of its class.

    `read` gives the image, uint8 RGB (h, w, 3), and the mask, uint8 (h, w) of 0, 1, 255 (ignore).
    """

    category: str
    name: str
    read: Callable[[], tuple[Uint8, Uint8]]
    is_negative: bool = False  # of a scene in which nothing is the object: a query, no support
    photo: str = ""  # of a real pair a hash of its image's file: the same photo has the same one


@dataclass(frozen=True)
class ClassPairs:
    """What there is of one class to learn from."""

    category: str
    real: tuple[Pair, ...]
    synthetic: tuple[Pair, ...]

    @property
    def showing(self) -> tuple[Pair, ...]:
        """The synthetic pairs that show the object."""
        return tuple(pair for pair in self.synthetic if not pair.is_negative)

    def __len__(self) -> int:
        return len(self.real) + len(self.synthetic)


@dataclass(frozen=True)
class ValidationEpisode:
    """A fixed episode of the validation: segment `query` by `support`, all of one class."""

    query: Pair
    support: tuple[Pair, ...]


def collect_pairs(
    banks: Sequence[PromptBank], sources: Sequence[Source], exclude: Path | None = None
) -> tuple[list[ClassPairs], dict[str, str]]:
    """The pairs of every category, and what to remember of them: how many, and a hash.

    Synthetic ones are the samples with a mask (status "refined") of the wanted sources, and scenes,
    without those on the list `exclude`. Real pairs are collected whatever `sources` says: they are
    what the validation is made of.
    """
    excluded = excluded_samples(exclude, (bank.root for bank in banks))
    folders = {
        (entry.category, (bank.root / entry.support_dir).resolve(), entry.mask_class)
        for bank in banks
        for entry in bank.entries
    }
    ordered = sorted(folders, key=lambda place: (*place[:2], str(place[2])))
    samples = [
        sample
        for bank in banks
        for sample in stored_samples(bank)
        if sample.record.status == "refined" and sample.record.mask_source in sources
        if sample.name not in excluded
    ]
    scenes = [
        scene
        for bank in banks
        for scene in (stored_scenes(bank) if SCENE in sources else ())
        if scene.name not in excluded and scene.samples.isdisjoint(excluded)
    ]
    categories = list(dict.fromkeys(name for bank in banks for name in bank.categories))
    classes = [
        ClassPairs(
            category,
            _each_photo_once(
                pair
                for name, folder, which in ordered
                if name == category
                for pair in _real_pairs(category, folder, which)
            ),
            (
                *(_synthetic_pair(sample) for sample in samples if sample.category == category),
                *(_scene_pair(scene) for scene in scenes if scene.category == category),
            ),
        )
        for category in categories
    ]
    hashes = sorted(
        f"{name} {support_fingerprint(folder, which)}" for name, folder, which in folders
    )
    made = [[sample.name, sample.record.refinement] for sample in samples]
    composed = [[scene.name, scene.record.fingerprint] for scene in scenes]
    real = sum(len(pairs.real) for pairs in classes)
    return classes, {
        "real_pairs": f"{real} ({fingerprint(hashes)})",
        "synthetic_pairs": f"{len(samples)} ({fingerprint(made)})",
        **({"scenes": f"{len(scenes)} ({fingerprint(composed)})"} if SCENE in sources else {}),
    }


def read_validation_folder(folder: Path) -> tuple[list[ClassPairs], str]:
    """The pairs of `<category>/1.jpg + 1.png` below `folder`, and what to remember of them.

    InputError holds every problem of every pair.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; --val_dir holds a folder of pairs per category"
        )
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if not inside:
        raise InputError(f"{folder}: has no folders; put pairs in <category>/1.jpg + 1.png")
    problems = [problem for path in inside for problem in check_support(path)]
    if problems:
        raise InputError(problems)
    classes = [ClassPairs(path.name, tuple(_real_pairs(path.name, path)), ()) for path in inside]
    known = fingerprint([[path.name, support_fingerprint(path)] for path in inside])
    return classes, f"{sum(map(len, classes))} ({known})"


def hold_out(
    classes: Iterable[ClassPairs], share: float, seed: int
) -> tuple[list[ClassPairs], dict[str, tuple[Pair, ...]]]:
    """Split the real pairs: what stays to learn from, and the held-out pairs of each class.

    Of a class with two real pairs or more, at least one is held out and at least one stays.
    """
    rng = np.random.default_rng((seed, 1))
    kept, held = [], dict[str, tuple[Pair, ...]]()
    for pairs in classes:
        count = min(max(1, round(share * len(pairs.real))), len(pairs.real) - 1) if share else 0
        order = rng.permutation(len(pairs.real))
        out, stay = sorted(order[: max(count, 0)]), sorted(order[max(count, 0) :])
        kept.append(ClassPairs(pairs.category, tuple(pairs.real[i] for i in stay), pairs.synthetic))
        if out:
            held[pairs.category] = tuple(pairs.real[i] for i in out)
    return kept, held


def fixed_episodes(
    queries: Mapping[str, Sequence[Pair]],
    support: Mapping[str, Sequence[Pair]],
    shot: int,
    count: int,
    seed: int,
) -> list[ValidationEpisode]:
    """`count` episodes, the classes and their queries in turn, each with its own draw of support.

    A query is never its own support. Where there are fewer than `shot` others, all are taken.
    """
    rng = np.random.default_rng((seed, 2))
    names, episodes = sorted(queries), []
    for number in range(count if names else 0):
        category = names[number % len(names)]
        query = queries[category][number // len(names) % len(queries[category])]
        others = [pair for pair in support[category] if pair is not query]
        drawn = rng.permutation(len(others))[:shot]
        episodes.append(ValidationEpisode(query, tuple(others[i] for i in sorted(drawn))))
    return episodes


def _real_pairs(category: str, folder: Path, mask_class: MaskClass | None = None) -> list[Pair]:
    return [
        Pair(
            category,
            f"{folder}/{paths.name}",
            partial(_read_real, paths),
            photo=file_fingerprint(paths.image),
        )
        for paths in find_pairs(folder, mask_class)
    ]


def _each_photo_once(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """Two dataset folders may hold the same photo: one copy must not validate the other."""
    unique: dict[str, Pair] = {}
    for pair in pairs:
        unique.setdefault(pair.photo, pair)
    return tuple(unique.values())


def _read_real(paths: PairPaths) -> tuple[Uint8, Uint8]:
    pair = load_pair(paths)
    return pair.image, pair.mask


def _synthetic_pair(sample: StoredSample) -> Pair:
    return Pair(sample.category, sample.name, partial(_read_synthetic, sample))


def _scene_pair(scene: StoredScene) -> Pair:
    return Pair(scene.category, scene.name, partial(_read_scene, scene), scene.is_negative)


def _read_scene(scene: StoredScene) -> tuple[Uint8, Uint8]:
    return scene.read_image(), scene.read_mask()


def _read_synthetic(sample: StoredSample) -> tuple[Uint8, Uint8]:
    return sample.read_image(), sample.read_labels()
