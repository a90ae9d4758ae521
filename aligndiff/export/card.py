"""The dataset card: README.md beside an export, with the front matter that the Hub reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aligndiff import __version__
from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint
from aligndiff.dataset.entries import EmbeddingEntry
from aligndiff.dataset.layout import EntryFolder, embedding_dir, embedding_file
from aligndiff.dataset.records import EntryRecord, read_record
from aligndiff.dataset.samples import settings_on_disk
from aligndiff.export.config import Format
from aligndiff.export.formats.imagefolder import FOLDERS
from aligndiff.export.items import SPLITS, SUPPORT
from aligndiff.export.job import Job
from aligndiff.export.markup import markdown_table, markdown_text, yaml_string

_MOST_NAMES = 5  # categories in the title
_SIZES = (1_000, 10_000, 100_000, 1_000_000)  # borders of the Hub's size categories
_WORDS = {1_000: "1K", 10_000: "10K", 100_000: "100K", 1_000_000: "1M"}

LAYOUTS: dict[Format, str] = {
    "coco": "COCO: `images/`, `annotations/instances_*.json` with RLE masks, one annotation an "
    "image. What a real pair ignores is background.",
    "voc": "Pascal VOC: `JPEGImages/`, `SegmentationClass/` (palette index = line of `labels.txt`, "
    "from 0), `ImageSets/Segmentation/`. 255 is void: ignored in a real pair, or, within "
    "`void_width` x the longer side of a synthetic mask's border, where the heatmap disagrees.",
    "yolo": "YOLO segmentation: `images/`, `labels/`, `data.yaml`. One polygon a connected part; "
    "holes are joined to the outline by a cut. What a real pair ignores is background.",
    "fss1000": "FSS-1000: `FSS-1000/<class>/1.jpg` + `1.png`, the surest first; `splits/` lists "
    "classes and samples, `categories.json` the names. What a real pair ignores is background.",
    "imagefolder": "Hugging Face imagefolder: columns `image`, `mask` (0 and 255), `category` and "
    "scores. What a real pair ignores is background.",
    "webdataset": "WebDataset: tar files of image, `mask.png` (0 and 255) and `json`, listed in "
    "`index.json`. What a real pair ignores is background.",
}

LIMITS = """## What to know before you use it

- The images are **synthetic**, made by a diffusion model; the masks are made by a few-shot
  segmenter. No person has checked them one by one, unless you did.
- `consensus`: the segmenter's mask agreed with the diffusion model's attention. `pseudo_label`: it
  did not, and the segmenter's second guess stands. `iou` is that agreement; it does not measure the
  mask against the truth.
- The validation split is synthetic as well. It tells how training goes, not how good a model is on
  photos: test on real, annotated photos.
- What the diffusion model shows wrongly or one-sidedly, the dataset shows too.
"""

CITING = """## How to cite

Lines marked TO FILL IN are for whoever publishes this dataset.

- TO FILL IN: the paper of the method (normalized masked textual inversion, images with attention
  heatmaps, few-shot conditioned refinement), of which AlignDiff is an implementation.
- TO FILL IN: the diffusion model named above, as its own model card asks.
- The segmenter: *Self-Support Few-Shot Semantic Segmentation*, Fan, Pei, Tai and Tang, ECCV 2022.
- TO FILL IN: the data that the segmenter's checkpoint, named above, was trained on.
- TO FILL IN: the source of the real photos and their annotations.
"""

LICENCES = """## Licence: what you must settle

`license: unknown` stands above until you do. This file is no legal advice.

- **The diffusion model.** Its licence may restrict what its images are used for, and may ask to be
  passed on with them (the OpenRAIL licences do restrict uses). Which one is it, and does your use
  fit?
- **The real photos.** {photos}
  Do their licences, and the rights of the people and property that they show, allow it?
- **Generated content.** Whether it can be owned, and whether it must be labelled as synthetic,
  differs from country to country. Does an image look like a real person, a brand, or a work of
  the training data?
- **The segmenter's checkpoint.** Was it trained on data for research only?
- AlignDiff itself is under the MIT licence, which says nothing of what is made with it.
"""


def card(job: Job) -> str:
    """The whole README.md, of what the job has written."""
    names = job.categories
    shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    title = f"Synthetic segmentation data: {shown}"
    real = any(item.source == SUPPORT for item in job.written)
    photos = "They are **in this dataset**" if real else "They are not in this dataset"
    photos += ", and words for the look of objects were learned from them" if _learned(job) else ""
    sections = [
        _front_matter(job, title),
        f"# {markdown_text(title)}\n",
        f"Made with AlignDiff {markdown_text(__version__)}.\n\n{LAYOUTS[job.config.format]}\n",
        f"## What is in it\n\n{_counts(job)}\n",
        f"## How samples were chosen\n\n{_chosen(job)}\n",
        f"## How it was made\n\n{_made(job)}",
        LIMITS,
        CITING,
        LICENCES.format(photos=f"{photos}."),
    ]
    return "\n".join(sections)


def _front_matter(job: Job, title: str) -> str:
    lines = [
        "---",
        f"pretty_name: {yaml_string(title)}",
        "license: unknown  # TO FILL IN",
        "task_categories:",
        "- image-segmentation",
        "tags:",
        "- synthetic",
        "size_categories:",
        f"- {_size_category(len(job.written))}",
    ]
    found = {job.selection.split(item) for item in job.written}
    paths = {"imagefolder": "{folder}/**", "webdataset": "{split}-*.tar"}
    if pattern := paths.get(job.config.format):
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for split in (split for split in SPLITS if split in found):
            lines.append(f"  - split: {FOLDERS[split]}")
            lines.append(f"    path: {pattern.format(folder=FOLDERS[split], split=split)}")
    else:
        lines.append("viewer: false")
    return "\n".join([*lines, "---", ""])


def _size_category(count: int) -> str:
    above = [border for border in _SIZES if count < border]
    if not above:
        return "n>1M"
    below = [border for border in _SIZES if count >= border]
    upper = _WORDS[above[0]]
    return f"{_WORDS[below[-1]]}<n<{upper}" if below else f"n<{upper}"


def _counts(job: Job) -> str:
    """Images of each class: by split and by where the mask comes from."""
    kinds = [*SPLITS, "consensus", "pseudo_label", SUPPORT, "images"]
    counts = {name: Counter[str]() for name in job.categories}
    for item in job.written:
        counts[item.category].update([job.selection.split(item), item.source, "images"])
    rows = [*counts.items(), ("all classes", sum(counts.values(), Counter()))]
    return markdown_table(
        ["class", *kinds], [[name, *(count[kind] for kind in kinds)] for name, count in rows]
    )


def _chosen(job: Job) -> str:
    config = job.selection.config
    asked = {
        "sources": " ".join(config.sources),
        "min_iou": config.min_iou,
        "area": f"{config.min_area} to {config.max_area} of the image",
        "max_per_class": "all" if config.max_per_class is None else config.max_per_class,
        "include_support": config.include_support,
        "val_fraction": config.val_fraction,
        "seed of the split": config.seed,
        **{name: value for name, value in job.config.own_settings.items() if value is not None},
        **{f"left out: {why}": count for why, count in job.selection.left_out.items()},
    }
    if job.failures:
        asked["left out: could not be read"] = len(job.selection.items) - len(job.written)
    return markdown_table(["what", "value"], list(asked.items()))


def _made(job: Job) -> str:
    """The entries that images were taken from, and the settings of the three steps."""
    counts = Counter(item.entry for item in job.written if item.source != SUPPORT)
    places = [EntryFolder(job.bank.root, entry) for entry in job.bank.entries if counts[entry.id]]
    rows, drawn, masks = [], list[Mapping[str, Any]](), list[Mapping[str, Any]]()
    for place in places:
        if record := EntryRecord.read_or_none(place.entry_json):
            rows.append([record.entry_id, record.category, record.prompt, counts[record.entry_id]])
            drawn.append({"model": record.model, **record.settings})
        masks.append(settings_on_disk(place))
    parts = [markdown_table(["entry", "class", "prompt", "images"], rows)]
    for heading, settings in (
        ("Step 1, the learned words", _learned(job)),
        ("Step 2, the images", drawn),
        ("Step 3, the masks", masks),
    ):
        if any(settings):
            table = markdown_table(["setting", "value"], _merged(settings))
            parts.append(f"### {heading}\n\n{table}")
    return "\n\n".join(parts) + "\n"


def _learned(job: Job) -> list[Mapping[str, Any]]:
    """The settings of step 1 behind the written images, where the embedding is still there."""
    entries = {item.entry for item in job.written}
    found: list[Mapping[str, Any]] = []
    for entry in job.bank.entries:
        if not isinstance(entry, EmbeddingEntry) or entry.id not in entries:
            continue
        record = EntryRecord.read_or_none(EntryFolder(job.bank.root, entry).entry_json)
        path = embedding_file(job.bank.root, entry)
        used = record.settings.get("embedding") if record else None
        if path.is_file() and file_fingerprint(path) == used:
            found.append(_inversion_settings(job, entry))
        else:
            found.append({"embedding": f"of {entry.path}: no longer there, or learned anew"})
    return found


def _inversion_settings(job: Job, entry: EmbeddingEntry) -> Mapping[str, Any]:
    try:
        record = read_record(embedding_dir(job.bank.root, entry))
    except InputError:
        record = None
    return record.settings if record else {}


def _merged(settings: Iterable[Mapping[str, Any]]) -> list[Sequence[Any]]:
    """Each setting once, with all its values."""
    values: dict[str, list[str]] = {}
    for one in settings:
        for name, value in one.items():
            if value not in (None, []):  # left to the model
                values.setdefault(name, []).append(str(value))
    return [(name, ", ".join(dict.fromkeys(found))) for name, found in sorted(values.items())]
