"""The log of a training: `log.jsonl`, one JSON object a line, each with its `step`."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from aligndiff.core.files import write_text
from aligndiff.segmenters.metrics import Scores
from aligndiff.training.plan import LOG, TENSORBOARD

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines in their order; empty without a log. A line that was cut off is left out."""
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:  # the last one, of a run that was killed
            continue
    return entries


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


class TrainingLog:
    """Open while a run goes on from `step`. Only the main process writes."""

    def __init__(self, folder: Path, step: int, is_main: bool) -> None:
        self.folder, self.is_main = folder, is_main
        self._board: SummaryWriter | None = None
        if is_main:
            forget_after(folder, step)
            self._board = _open_board(folder / TENSORBOARD, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()

    def write(self, step: int, **values: float) -> None:
        """One line: the step and the values."""
        if not self.is_main:
            return
        append_log(self.folder, {"step": step, **values})
        self._show(step, values)

    def write_scores(self, step: int, scores: Scores) -> None:
        """One line with a validation's mIoU, FB-IoU and the IoU of every class."""
        means = {"val_miou": scores.miou, "val_fb_iou": scores.fb_iou}
        append_log(self.folder, {"step": step, **means, "val_iou": scores.class_ious})
        self._show(step, {**means, **{f"val_iou/{k}": v for k, v in scores.class_ious.items()}})

    def write_saved(self, step: int) -> None:
        """One line that says: the checkpoint of this step is written whole."""
        append_log(self.folder, {"step": step, "saved": True})

    def _show(self, step: int, values: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)


def _open_board(folder: Path, step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.warning(
            "note: no TensorBoard log, the package is missing (pip install tensorboard); "
            "log.jsonl has the same figures"
        )
        return None
    # What a stopped run has written after its last checkpoint is written again.
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
