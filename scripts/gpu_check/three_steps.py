"""The three steps on the tiny models: a card's files against those of the CPU."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from aligndiff.core.errors import AlignDiffError
from aligndiff.core.files import read_json
from scripts.example import copy_example
from scripts.gpu_check.attempts import Attempt, Place
from scripts.gpu_check.config import Check
from scripts.gpu_check.lines import at_least, at_most, figure, tried
from scripts.reporting import Line, Target

CHECK: Check = "steps"
STEPS = ("inversion", "synthesis", "refinement")
# Float32 on a card differs from a CPU's by rounding, and TF32 convolutions by more; an image is
# the sum of many steps. A grey level or two cannot be seen.
MEAN_GREY = at_most(2.0)
MASK_IOU = at_least(0.98)
# Another number format draws other images of the same scene; its masks should be of that scene.
OTHER_FORMAT_IOU = at_least(0.9)
LEARNED = at_most(0.05)  # difference of the learned vectors, of their length
OUTCOMES = at_least(0.9)  # share of samples that were accepted or rejected alike


@dataclass(frozen=True)
class TinyRun:
    """One way through the three steps."""

    name: str
    device: str
    precision: str
    workers: int

    @property
    def title(self) -> str:
        count = "1 process" if self.workers == 1 else f"{self.workers} processes"
        return f"{self.precision}, {count}"


REFERENCE = TinyRun("cpu", "cpu", "float32", 1)


def attempts(place: Place) -> Iterator[Attempt]:
    """The CPU's run first, then one and two processes on the card, then its own number format."""
    device = place.config.device
    yield Attempt("the CPU's run", partial(_run, place, REFERENCE), 20)
    for run in (TinyRun("one", device, "float32", 1), TinyRun("two", device, "float32", 2)):
        yield Attempt(f"the three steps, {run.title}", partial(_compared, place, run, MASK_IOU), 20)
    if not place.config.small:
        own = str(place.dtype).removeprefix("torch.")
        run = TinyRun("own", device, own, 1)
        lines = partial(_compared, place, run, OTHER_FORMAT_IOU)
        yield Attempt(f"the three steps, {run.title}", lines, 20)


def _run(place: Place, run: TinyRun) -> Iterator[Line]:
    """All three steps as commands would do them; their seconds. What they say goes to the log."""
    folder = copy_example(_folder(place, run))
    seconds = []
    for step in STEPS:
        started = time.perf_counter()
        module = importlib.import_module(f"aligndiff.{step}.step")
        with place.logging():
            code = module.main(_words(place, run, folder, step))
        if code:
            raise AlignDiffError(f"{step} ended with exit code {code}; log.txt says why")
        seconds.append(time.perf_counter() - started)
    told = ", ".join(f"{step} {taken:.1f} s" for step, taken in zip(STEPS, seconds, strict=True))
    where = "CPU" if run.device == "cpu" else "card"
    yield tried(CHECK, f"the three steps on the {where}, {run.title}", told)


def _words(place: Place, run: TinyRun, folder: Path, step: str) -> list[str]:
    words = ["--dataset_dir", str(folder.resolve()), "--device", run.device]
    few = place.config.small
    # Processes take seconds to start, on a CPU most of the check: one step shows that they can.
    workers = 1 if few and step != "synthesis" else run.workers
    words += ["--precision", run.precision, "--workers", str(workers), "--no_sheet"]
    if step == "inversion":
        words += ["--inversion_steps", "2" if few else "40"]
    if step == "synthesis":
        words += ["--image_per_entry", "1" if few else "4", "--image_format", "png"]
        words += ["--num_inference_steps", "2"] if few else []
    return words


def _folder(place: Place, run: TinyRun) -> Path:
    return place.config.work_dir / f"steps_{run.name}"


def _compared(place: Place, run: TinyRun, iou: Target) -> Iterator[Line]:
    """What a run left, against what the CPU's left."""
    yield from _run(place, run)
    reference = _folder(place, REFERENCE)
    folder = _folder(place, run)
    name = f"{run.title}, against the CPU"
    same_format = run.precision == "float32"
    difference = _learned_difference(folder, reference)
    what = f"{name}: learned vectors, difference over length"
    yield figure(CHECK, what, difference, "", LEARNED if same_format else None)
    for kind, title in (("generated_images", "images"), ("attention_masks", "heatmaps")):
        yield _greys(name, title, kind, folder, reference, same_format)
    yield _masks(name, folder, reference, iou)
    yield _outcomes(name, folder, reference, same_format)


def _learned_difference(folder: Path, reference: Path) -> float:
    """The largest of all objects'."""
    found = []
    for path in _files(reference, "*/learned_embeddings/*.safetensors"):
        ours, theirs = load_file(folder / path), load_file(reference / path)
        found += [
            float((ours[name] - tensor).norm() / tensor.norm()) for name, tensor in theirs.items()
        ]
    return max(found)


def _greys(name: str, title: str, kind: str, folder: Path, reference: Path, judged: bool) -> Line:
    """Mean and greatest difference of grey levels of all images, which must be there."""
    paths = _files(reference, f"synthesized/*/{kind}/*.png")
    differences = [
        np.abs(_read(folder / path).astype(int) - _read(reference / path)) for path in paths
    ]
    mean = float(np.mean([difference.mean() for difference in differences]))
    greatest = max(int(difference.max()) for difference in differences)
    what = f"{name}: {title}, mean difference in grey levels"
    target = MEAN_GREY if judged else None
    return figure(CHECK, what, mean, "", target, len(paths), f"greatest {greatest}")


def _masks(name: str, folder: Path, reference: Path, target: Target) -> Line:
    """Mean IoU of the masks that both runs have."""
    pattern = "synthesized/*/aligndiff_masks/*.png"
    ours, theirs = set(_files(folder, pattern)), set(_files(reference, pattern))
    both = sorted(ours & theirs)
    ious = [_iou(_read(folder / path) > 127, _read(reference / path) > 127) for path in both]
    mean = float(np.mean(ious)) if ious else float("nan")
    alone = f"{len(ours ^ theirs)} masks in one of the two only" if ours != theirs else ""
    return figure(CHECK, f"{name}: masks, mean IoU", mean, "", target, len(both), alone)


def _outcomes(name: str, folder: Path, reference: Path, judged: bool) -> Line:
    """The share of samples that step 3 judged alike: refined with the same consensus, rejected."""
    paths = _files(reference, "synthesized/*/samples/*.json")
    same = [_state(folder / path) == _state(reference / path) for path in paths]
    what = f"{name}: samples with the same outcome of step 3"
    return figure(CHECK, what, float(np.mean(same)), "", OUTCOMES if judged else None, len(paths))


def _state(record: Path) -> object:
    return read_json(record).get("status")


def _files(folder: Path, pattern: str) -> list[Path]:
    """What there is of a kind, by its path in the dataset. Raises AlignDiffError for nothing."""
    found = sorted(path.relative_to(folder) for path in folder.glob(pattern))
    if not found:
        raise AlignDiffError(f"{folder}: nothing was made like {pattern}")
    return found


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0
