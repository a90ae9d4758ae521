"""Predicted masks beside the true masks of the same names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import FilePart
from aligndiff.dataset.layout import DATASET_FILE
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import stored_samples
from aligndiff.dataset.scenes import stored_scenes

ONE_CLASS = "object"  # what masks that lie in no sub-folder are masks of


@dataclass(frozen=True)
class MaskPair:
    """The two masks of an image; `name` says which, with its sub-folders and without suffix."""

    category: str
    name: str
    predicted: Path | FilePart  # of a packed sample: a part of a tar file
    truth: Path


@dataclass(frozen=True)
class MaskPairs:
    """What is to be compared, and what is left out, in words."""

    pairs: tuple[MaskPair, ...]
    notes: tuple[str, ...] = ()


def find_mask_pairs(predicted: Path, truth: Path) -> MaskPairs:
    """The masks of `predicted` that `truth` has, too.

    `predicted` is a dataset folder, whose masks are called by the names of its samples and scenes
    (fish-1a2b3c4d_000007), or a folder of PNG files, whose first sub-folder is the class. Every
    true mask must have a prediction: leaving the missing ones out would flatter. Samples that step
    3 rejected have none and are told. InputError holds every problem.
    """
    for option, folder in (("--predicted", predicted), ("--truth", truth)):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; {option} is a folder of PNG masks")
    true = _masks_in(truth)
    if not true:
        raise InputError(f"{truth}: has no PNG files; --truth is a folder of true masks")
    if (predicted / DATASET_FILE).exists():
        return _of_a_dataset(predicted, true)
    masks = _masks_in(predicted)
    missing = [
        f"{predicted / name}.png: no such file, but {path} is its truth; add the mask"
        for name, path in true.items()
        if name not in masks
    ]
    if missing:
        raise InputError(missing)
    pairs = [
        MaskPair(name.split("/")[0] if "/" in name else ONE_CLASS, name, masks[name], path)
        for name, path in true.items()
    ]
    return MaskPairs(tuple(pairs), _spare(len(masks) - len(pairs)))


def _of_a_dataset(root: Path, true: dict[str, Path]) -> MaskPairs:
    samples = {sample.name: sample for sample in stored_samples(load_prompt_bank(root))}
    scenes = {scene.name: scene for scene in stored_scenes(load_prompt_bank(root))}
    problems, pairs, unmasked = [], [], 0
    for name, path in true.items():
        sample, scene = samples.get(name), scenes.get(name)
        if scene is not None:
            pairs.append(MaskPair(scene.category, name, scene.mask_file, path))
        elif sample is None:
            form = "a true mask is called like its sample, as in fish-1a2b3c4d_000007.png"
            problems.append(f"{path}: {root} has no sample of this name; {form}")
        elif sample.record.status != "refined":
            unmasked += 1
        else:
            pairs.append(MaskPair(sample.category, name, sample.mask_file, path))
    if not problems and not pairs:
        problems = [f"{root}: none of the samples with a true mask has a mask; run step 3 first"]
    if problems:
        raise InputError(problems)
    refined = sum(sample.record.status == "refined" for sample in samples.values())
    notes = _spare(refined - sum(pair.name in samples for pair in pairs))
    if unmasked:
        notes += (f"{unmasked} true masks of samples that step 3 gave no mask, left out",)
    return MaskPairs(tuple(pairs), notes)


def _masks_in(folder: Path) -> dict[str, Path]:
    """PNG files by their path below `folder`, without suffix and with "/", in order."""
    files = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() == ".png")
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in files
        if path.is_file() and not path.name.startswith(".")
    }


def _spare(count: int) -> tuple[str, ...]:
    return (f"{count} masks without a true mask of the same name, left out",) if count else ()
