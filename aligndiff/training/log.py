"""The log of a training: `log.jsonl`, one JSON object a line, each with its `step`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligndiff.core.files import write_text
from aligndiff.training.plan import LOG


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines in their order; empty without a log. A line that was cut off is left out."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:  # the last one, of a run that was killed
            continue
    return found


def append_log(folder: Path, line: dict[str, Any]) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def forget_after(folder: Path, step: int) -> None:
    """Drop the lines after `step`, from where the run goes on: they will be written again."""
    kept = [line for line in read_log(folder) if line["step"] <= step]
    write_text(folder / LOG, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))


@dataclass(frozen=True)
class Validation:
    """One validation as the log tells it."""

    step: int
    miou: float
    ious: dict[str, float]  # of each class


def validations(folder: Path) -> list[Validation]:
    """Every validation so far, in the order of the steps."""
    return [
        Validation(line["step"], line["val_miou"], line["val_iou"])
        for line in read_log(folder)
        if "val_miou" in line
    ]


def trained_steps(folder: Path) -> int:
    """The step of the last checkpoint, which the log tells only when it is written whole."""
    return max((line["step"] for line in read_log(folder) if "saved" in line), default=0)
