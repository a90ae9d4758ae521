"""The dataset card: README.md beside an export, filled into the template card.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aligndiff import __version__
from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint
from aligndiff.dataset.entries import EmbeddingEntry
from aligndiff.dataset.layout import EntryFolder, SceneFolder, embedding_dir, embedding_file
from aligndiff.dataset.records import EntryRecord, SceneSetRecord, read_record
from aligndiff.dataset.samples import settings_on_disk
from aligndiff.dataset.scenes import SCENE
from aligndiff.export.items import HUB_SPLITS, SPLITS, SUPPORT
from aligndiff.export.job import ExportJob
from aligndiff.export.markup import markdown_text

TEMPLATE = Path(__file__).with_name("card.md")
_MOST_NAMES = 5  # categories in the title
_SIZES = (1_000, 10_000, 100_000, 1_000_000)  # borders of the Hub's size categories
_WORDS = {1_000: "1K", 10_000: "10K", 100_000: "100K", 1_000_000: "1M"}

Row = Sequence[Any]  # the cells of a row of a table


def card(job: ExportJob) -> str:
    """The whole README.md, of what the job has written."""
    from huggingface_hub import DatasetCard, DatasetCardData  # 0.3 s that --help need not wait for

    drawn, settings = _made(job)
    learned = _learned(job)
    card_data = DatasetCardData(
        pretty_name=_title(job),
        license="unknown",
        task_categories=["image-segmentation"],
        tags=["synthetic"],
        size_categories=[_size_category(len(job.written))],
        **_viewer(job),
    )
    content = DatasetCard.from_template(
        card_data,
        template_path=str(TEMPLATE),
        text=markdown_text,
        version=__version__,
        layout=job.choice.format.layout,
        counts=_counts(job),
        chosen=_chosen(job),
        drawn=drawn,
        steps={"Step 1, the learned words": _merged(learned), **settings},
        has_real_photos=any(item.source == SUPPORT for item in job.written),
        has_learned_words=bool(learned),
    )
    return f"{content}\n"


def _title(job: ExportJob) -> str:
    shown = job.categories[:_MOST_NAMES] + ["..."] * (len(job.categories) > _MOST_NAMES)
    return f"Synthetic segmentation data: {', '.join(shown)}"


def _viewer(job: ExportJob) -> dict[str, Any]:
    """The files that the Hub's viewer shows, by split, or that it is to show none."""
    patterns = job.choice.format.data_files
    if not patterns:
        return {"viewer": False}
    present = {job.selection.split(item) for item in job.written}
    data_files = [
        {"split": HUB_SPLITS[split], "path": patterns[split]}
        for split in SPLITS
        if split in present
    ]
    return {"configs": [{"config_name": "default", "data_files": data_files}]}


def _size_category(count: int) -> str:
    above = [border for border in _SIZES if count < border]
    if not above:
        return "n>1M"
    below = [border for border in _SIZES if count >= border]
    upper = _WORDS[above[0]]
    return f"{_WORDS[below[-1]]}<n<{upper}" if below else f"n<{upper}"


def _counts(job: ExportJob) -> list[Row]:
    """Images of each class, by split and by the source of the mask; the first row is the head."""
    kinds = [*SPLITS, *job.sources, "images"]
    counts = {name: Counter[str]() for name in job.categories}
    for item in job.written:
        counts[item.category].update([job.selection.split(item), item.source, "images"])
    rows = [*counts.items(), ("all classes", sum(counts.values(), Counter()))]
    return [["class", *kinds], *([name, *(count[kind] for kind in kinds)] for name, count in rows)]


def _chosen(job: ExportJob) -> list[Row]:
    config = job.selection.config
    asked = {
        "sources": " ".join(config.sources),
        "min_iou": config.min_iou,
        "area": f"{config.min_area} to {config.max_area} of the image",
        "max_per_class": "all" if config.max_per_class is None else config.max_per_class,
        "include_support": config.include_support,
        "val_fraction": config.val_fraction,
        "seed of the split": config.seed,
        **{name: value for name, value in job.choice.settings.items() if value is not None},
        **{f"left out: {why}": count for why, count in job.selection.left_out.items()},
        **{f"left out: {why}": count for why, count in job.left_out.items() if count},
    }
    if job.failures:
        asked["left out: could not be read"] = job.failed
    return [["what", "value"], *asked.items()]


def _made(job: ExportJob) -> tuple[list[Row], dict[str, list[Row]]]:
    """The entries that images were taken from, and the settings of steps 2 and 3 behind them."""
    counts = Counter(item.entry for item in job.written if item.source != SUPPORT)
    places = [EntryFolder(job.bank.root, entry) for entry in job.bank.entries if counts[entry.id]]
    rows: list[Row] = [["entry", "class", "prompt", "images"]]
    synthesis, refinement = list[Mapping[str, Any]](), list[Mapping[str, Any]]()
    for place in places:
        if record := EntryRecord.read_or_none(place.entry_json):
            rows.append([record.entry_id, record.category, record.prompt, counts[record.entry_id]])
            synthesis.append({"model": record.model, **record.settings})
        refinement.append(settings_on_disk(place))
    settings = {
        "Step 2, the images": _merged(synthesis),
        "Step 3, the masks": _merged(refinement),
        "Scenes": _merged(_scene_settings(job)),
    }
    return rows, settings


def _scene_settings(job: ExportJob) -> list[Mapping[str, Any]]:
    """What the scenes of the written classes were composed with."""
    categories = dict.fromkeys(item.category for item in job.written if item.source == SCENE)
    places = [SceneFolder(job.bank.root, category) for category in categories]
    records = [SceneSetRecord.read_or_none(place.scenes_json) for place in places]
    return [record.settings for record in records if record is not None]


def _learned(job: ExportJob) -> list[Mapping[str, Any]]:
    """The settings of step 1 behind the written images, where the embedding is still there."""
    entries = {item.entry for item in job.written}
    settings: list[Mapping[str, Any]] = []
    for entry in job.bank.entries:
        if not isinstance(entry, EmbeddingEntry) or entry.id not in entries:
            continue
        record = EntryRecord.read_or_none(EntryFolder(job.bank.root, entry).entry_json)
        path = embedding_file(job.bank.root, entry)
        used = record.settings.get("embedding") if record else None
        if path.is_file() and file_fingerprint(path) == used:
            settings.append(_inversion_settings(job, entry))
        else:
            settings.append({"embedding": f"of {entry.path}: no longer there, or learned anew"})
    return settings


def _inversion_settings(job: ExportJob, entry: EmbeddingEntry) -> Mapping[str, Any]:
    try:
        record = read_record(embedding_dir(job.bank.root, entry))
    except InputError:
        record = None
    return record.settings if record else {}


def _merged(settings: Iterable[Mapping[str, Any]]) -> list[Row]:
    """A table of each setting once, with all its values; empty when there are none."""
    values: dict[str, list[str]] = {}
    for record in settings:
        for name, value in record.items():
            if value not in (None, []):  # left to the model
                values.setdefault(name, []).append(str(value))
    rows = [(name, ", ".join(dict.fromkeys(texts))) for name, texts in sorted(values.items())]
    return [["setting", "value"], *rows] if rows else []
