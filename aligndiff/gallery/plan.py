"""The gallery of a dataset folder: the samples and support pairs it shows, and their pictures.

<output_dir>/
  index.html gallery.css gallery.js    the page, the same for every dataset
  data.js                              what it shows, as a script: a page from disk may load no JSON
  pictures/<entry id>/                 of its samples, see gallery_blocks
  pictures/support_<8 hex digits>/     of the pairs of one folder
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint, fingerprint
from aligndiff.dataset.entries import Entry
from aligndiff.dataset.layout import SCENES
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.records import EntryRecord, SampleRecord, SceneRecord, SceneSetRecord
from aligndiff.dataset.samples import StoredSample, stored_samples
from aligndiff.dataset.scenes import SCENE, StoredScene, stored_scenes
from aligndiff.dataset.support import PairPaths, find_pairs, load_pair
from aligndiff.gallery.cache import CacheChunk, GalleryItem, find_chunks
from aligndiff.gallery.config import GalleryConfig
from aligndiff.gallery.pictures import MaskStats, PictureFiles, draw_pictures

PICTURES = "pictures"
Item = TypeVar("Item")
_VERSION = 1  # of how pictures are drawn and measured; another one draws all anew


@dataclass(frozen=True)
class SupportSection:
    """The support pairs of one folder, named as dataset.json names it."""

    folder: str
    pictures: Path
    chunks: Sequence[CacheChunk]


@dataclass(frozen=True)
class EntrySection:
    """The samples of one entry that are shown, or the scenes of one category.

    `rows` holds, by the number of an item, its record's values, as of a `SampleRecord`; of scenes
    `entry` is one of their category, whose support pairs are shown beside them.
    """

    entry: Entry
    made_with: EntryRecord
    rows: Mapping[int, Sequence[Any]]
    chunks: Sequence[CacheChunk]


@dataclass(frozen=True)
class Gallery:
    """All that is shown; its pictures are there or wait in the chunks to be drawn."""

    output: Path
    config: GalleryConfig
    support: Sequence[SupportSection]
    entries: Sequence[EntrySection]

    @property
    def chunks(self) -> Iterator[CacheChunk]:
        sections: list[SupportSection | EntrySection] = [*self.support, *self.entries]
        for section in sections:
            yield from section.chunks


def plan_gallery(bank: PromptBank, output: Path, config: GalleryConfig) -> Gallery:
    """Look through the bank's samples and the pictures that are there; draws nothing.

    Raises InputError when there are no samples, or when a record cannot be read.
    """
    by_entry: dict[str, list[StoredSample]] = {}
    for sample in stored_samples(bank):
        by_entry.setdefault(sample.place.entry.id, []).append(sample)
    scenes: dict[str, list[StoredScene]] = {}
    for scene in stored_scenes(bank):
        scenes.setdefault(scene.category, []).append(scene)
    if not by_entry and not scenes:
        raise InputError(
            f"{bank.root}: no synthesized images of the chosen entries; run python -m "
            f"scripts.diffuse_img_attention --dataset_dir {bank.root} first"
        )
    pictures, size = output / PICTURES, config.thumbnail_side
    entries = [
        _entry_shelf(_evenly(samples, config.max_samples), pictures, size)
        for samples in by_entry.values()
    ] + [
        _scene_shelf(bank, _evenly(shown, config.max_samples), pictures, size)
        for shown in scenes.values()
    ]
    first = {support_name(section.entry): section.entry for section in reversed(entries)}
    names = dict.fromkeys(support_name(section.entry) for section in entries)
    support = [_support_shelf(bank.root, first[name], pictures, size) for name in names]
    return Gallery(output, config, support, entries)


def _evenly(samples: list[Item], most: int) -> list[Item]:
    if not 0 < most < len(samples):
        return samples
    places = np.linspace(0, len(samples) - 1, most).round().astype(int)
    return [samples[place] for place in places]


def _entry_shelf(samples: Sequence[StoredSample], pictures: Path, size: int) -> EntrySection:
    place = samples[0].place
    folder = pictures / place.entry.id
    chunks = find_chunks(folder, size, (_sample_item(sample, folder, size) for sample in samples))
    rows = {s.record.index: [*s.record.to_json().values()] for s in samples}
    return EntrySection(place.entry, EntryRecord.read(place.entry_json), rows, chunks)


def _scene_shelf(
    bank: PromptBank, scenes: Sequence[StoredScene], pictures: Path, size: int
) -> EntrySection:
    """Scenes are shown as if they were one more entry of their category."""
    place = scenes[0].place
    name = f"{SCENES}-{place.folder.name}"
    folder = pictures / name
    chunks = find_chunks(folder, size, (_scene_item(scene, folder, size) for scene in scenes))
    made_with = SceneSetRecord.read(place.scenes_json)
    entry = next(entry for entry in bank.entries if entry.category == place.category)
    as_entry = EntryRecord(
        entry_id=name,
        type=SCENE,
        category=place.category,
        prompt=f"scenes with and without a {place.category}",
        support_dir=entry.support_dir,
        model="",
        settings=made_with.settings,
        fingerprint=made_with.fingerprint,
    )
    rows = {scene.record.index: _as_sample(scene.record) for scene in scenes}
    return EntrySection(entry, as_entry, rows, chunks)


def _as_sample(record: SceneRecord) -> list[Any]:
    """A scene's values in the places of a `SampleRecord`'s."""
    known = {
        **{name: getattr(record, name) for name in ("index", "seed", "image_format")},
        "fingerprint": record.fingerprint,
        "status": "composed",
        "mask_source": SCENE,
    }
    return [known.get(item.name) for item in fields(SampleRecord)]


def support_name(entry: Entry) -> str:
    """How the gallery calls the support pairs of an entry: by their folder, and class if given."""
    which = "" if entry.mask_class is None else f" ({entry.mask_class})"
    return f"{entry.support_dir}{which}"


def _support_shelf(root: Path, entry: Entry, pictures: Path, size: int) -> SupportSection:
    name = support_name(entry)
    folder = pictures / f"support_{fingerprint(name)[:8]}"
    pairs = enumerate(find_pairs(root / entry.support_dir, entry.mask_class))
    items = (_pair_item(pair, number, folder, size) for number, pair in pairs)
    return SupportSection(name, folder, find_chunks(folder, size, items))


def _sample_item(sample: StoredSample, folder: Path, size: int) -> GalleryItem:
    record = sample.record
    files = PictureFiles(folder / f"{record.index:06d}")

    def draw() -> MaskStats:
        mask = sample.read_mask() if record.status == "refined" else None
        return draw_pictures(files, sample.read_image(), sample.read_heatmap(), mask, size)

    key = fingerprint([_VERSION, size, record.to_json()])
    return GalleryItem(sample.name, record.index, files, key, True, draw)


def _scene_item(scene: StoredScene, folder: Path, size: int) -> GalleryItem:
    record = scene.record
    files = PictureFiles(folder / f"{record.index:06d}")

    def draw() -> MaskStats:
        return draw_pictures(files, scene.read_image(), None, scene.read_mask(), size)

    key = fingerprint([_VERSION, size, record.to_json()])
    return GalleryItem(scene.name, record.index, files, key, False, draw)


def _pair_item(paths: PairPaths, number: int, folder: Path, size: int) -> GalleryItem:
    files = PictureFiles(folder / f"{number:06d}")

    def draw() -> MaskStats:
        pair = load_pair(paths)
        return draw_pictures(files, pair.image, None, pair.mask, size)

    made_from = [file_fingerprint(path) for path in (paths.image, paths.mask)]
    if paths.mask_class is not None:
        made_from.append(str(paths.mask_class))
    return GalleryItem(
        paths.name, number, files, fingerprint([_VERSION, size, made_from]), False, draw
    )
