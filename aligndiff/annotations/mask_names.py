"""How people and tools name mask files, and which photo such a name belongs to."""

from __future__ import annotations

import re

from aligndiff.dataset.support import SUFFIXES

# Folders, in any case, that hold masks, photos, or a part of a split data set.
MASK_FOLDERS = frozenset(
    "mask masks gt ground_truth groundtruth ground-truth label labels annotation annotations anno "
    "annos segmentation segmentations seg segs alpha alphas matte mattes trimaps binary_masks "
    "masks_human masks_machine mask_images labelids pixel_labels segmentationclass "
    "segmentationobject annotated matting training_masks train_masks test_masks".split()
)
PHOTO_FOLDERS = frozenset(
    "image images img imgs photo photos picture pictures pics jpegimages jpgs jpg rgb input inputs "
    "original originals raw data ds_images training_images train_images test_images frames".split()
)
SPLITS = frozenset("train training val valid validation test testing trainval all".split())

_WORDS = (
    "masks?|gt|labels?|segmentation|segment|seg|alpha|matte|ground[ _-]?truth|trimap|annotations?|"
    "anno|object[ _-]?mask|foreground|fg|binary|pixels?|labelids|color|mat"
)
_GAP = r"[ _.()\[\]-]+"
_AT_END = re.compile(
    rf"^(?P<photo>.+?)(?:{_GAP}|(?<=\d))(?:(?:{_WORDS})(?:{_GAP}(?:{_WORDS}))*)"
    rf"(?:[ _.()\[\]-]*\d{{1,4}})?[)\]]*$",
    re.IGNORECASE,
)
_CAMVID = re.compile(r"^(?P<photo>.+)_[LP]$")  # CamVid's labels
_IN_FRONT = re.compile(
    rf"^(?:(?:{_WORDS})(?:{_GAP}(?:{_WORDS}))*)(?:{_GAP}|(?=\d))(?P<photo>.+)$", re.IGNORECASE
)
_PHOTO_WORD = re.compile(
    r"(?:^(?:image|img|photo|picture|pic|rgb|im|frame)(?:[ _.-]+|(?=\d)))|"
    r"(?:[ _.-]+(?:image|img|photo|picture|rgb|sat|original)$)",
    re.IGNORECASE,
)


def photo_of(stem: str) -> str | None:
    """The photo's stem in a mask's ("a_mask", "mask-a", "a.jpg"); None when it says nothing."""
    plain = _without_suffix(stem)
    for pattern in (_CAMVID, _AT_END, _IN_FRONT):
        if match := pattern.match(plain):
            return _without_suffix(match["photo"])
    return plain if plain != stem else None


def _without_suffix(stem: str) -> str:
    """A stem without a picture's suffix at its end: of photo.jpg.png it is photo.jpg."""
    suffix = next((end for end in SUFFIXES if stem.lower().endswith(end)), "")
    return stem.removesuffix(stem[len(stem) - len(suffix) :]) or stem


def bare(stem: str) -> str:
    """A stem as it is compared: in lower case, without words such as "img_" around it."""
    return _PHOTO_WORD.sub("", stem).casefold() or stem.casefold()


def last_number(stem: str) -> str | None:
    """The last digits of a stem without leading zeros: what "frame_007" and "seg7" share."""
    digits = re.findall(r"\d+", stem)
    return (digits[-1].lstrip("0") or "0") if digits else None
