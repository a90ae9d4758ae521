"""Bad inputs as commands: refused in one line, with exit code 2, before anything is loaded."""

from __future__ import annotations

import json
import pickle
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aligndiff.core.files import read_json
from aligndiff.dataset.layout import DATASET_FILE
from scripts.drill.datasets import DrillDatasets, one_error
from scripts.drill.lines import line
from scripts.drill.processes import run
from scripts.drill.snapshots import differences, tree
from scripts.example import INVERSION
from scripts.reporting import Line, Target

AT_ONCE = Target(2.0, "at most")  # seconds beyond those of --help
_EMBEDDING = "fish/learned_embeddings/learned_embeds.safetensors"

Spoil = Callable[[Path], list[str]]  # spoils a dataset; returns more words for the command


def _typed(*words: str) -> Spoil:
    return lambda dataset: list(words)


def _written(name: str, data: bytes) -> Spoil:
    def spoil(dataset: Path) -> list[str]:
        (dataset / name).write_bytes(data)
        return []

    return spoil


def _truncated(name: str) -> Spoil:
    def spoil(dataset: Path) -> list[str]:
        whole = (dataset / name).read_bytes()
        (dataset / name).write_bytes(whole[: len(whole) // 2])
        return []

    return spoil


def _entry(**changes: object) -> Spoil:
    """Change keys of the first entry of the prompt bank."""

    def spoil(dataset: Path) -> list[str]:
        bank = read_json(dataset / DATASET_FILE)
        bank["prompt_dataset"][0] |= changes
        (dataset / DATASET_FILE).write_text(json.dumps(bank))
        return []

    return spoil


def _code_for_a_checkpoint(dataset: Path) -> list[str]:
    """A pickle that would make a file when it is read as one."""
    file = dataset.with_suffix(".pth")
    file.write_bytes(pickle.dumps(_Touch(str(dataset / "ran_code"))))
    return ["--fss_ckpt_path", str(file.resolve())]


class _Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


# What it is, the step that gets it, how it is made.
CASES: tuple[tuple[str, int, Spoil], ...] = (
    ("dataset.json that breaks off", 2, _truncated(DATASET_FILE)),
    (
        "dataset.json as UTF-16",
        1,
        _written(DATASET_FILE, '{"prompt_dataset": []}'.encode("utf-16")),
    ),
    ("17 MiB of dataset.json", 2, _written(DATASET_FILE, b" " * 17 * 2**20)),
    ("a support folder outside the dataset", 3, _entry(D_good_dir="../../etc")),
    ("a category that is a number", 2, _entry(category=7)),
    ("an empty support image", 1, _written("fish/1.jpg", b"")),
    ("a support mask that breaks off", 3, _truncated("mushroom/2.png")),
    ("an embedding that breaks off", 2, _truncated(_EMBEDDING)),
    ("a pickle in place of an embedding", 2, _written(_EMBEDDING, pickle.dumps({"a": 1}))),
    ("code in place of a checkpoint", 3, _code_for_a_checkpoint),
    ("--batch_size -1", 2, _typed("--batch_size", "-1")),
    ("--bg_lambda nan", 1, _typed("--bg_lambda", "nan")),
    ("--image_per_entry 99999999999999999999", 2, _typed("--image_per_entry", "9" * 20)),
    ("--workers 1000000", 3, _typed("--workers", "1000000")),
    ("--ray_address without --launcher ray", 3, _typed("--ray_address", "here:1")),
)


def drill(datasets: DrillDatasets) -> Iterator[Line]:
    cases = CASES[::3] if datasets.config.quick else CASES
    datasets.made(2)
    for name, step, spoil in cases:
        started = time.monotonic()
        # Beside each other: how busy the machine is changes from minute to minute.
        usual = statistics.median(run([INVERSION, "--help"]).seconds for _ in range(2))
        dataset = datasets.copy(datasets.made(2))
        words = datasets.words(step, dataset, *spoil(dataset))
        before = tree(dataset)
        ended = run(words)
        problems = one_error(ended, 2) + differences(before, tree(dataset))
        extra = ended.seconds - usual
        if not AT_ONCE.holds(extra):
            problems.append(f"{extra:.1f} s more than --help, at most {AT_ONCE.bound:g}")
        fine = f"one line, exit code 2, {extra:+.1f} s beside --help"
        yield line("hostile", f"step {step}: {name}", 1, fine, problems, started)
