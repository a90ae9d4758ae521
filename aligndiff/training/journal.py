"""What a training writes down on its way: `log.jsonl` always, TensorBoard where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from aligndiff.core.console import warn
from aligndiff.segmenters.metrics import Scores
from aligndiff.training.log import append_log, forget_after
from aligndiff.training.plan import TENSORBOARD

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Journal:
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
        warn(
            "note: no TensorBoard log, the package is missing (pip install tensorboard); "
            "log.jsonl has the same figures"
        )
        return None
    # What a stopped run has written after its last checkpoint is written again.
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
