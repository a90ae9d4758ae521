"""What the measurement finds, and the last sentence of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scripts.reporting import Line, closing
from scripts.tiny_world.measure.samples import LookFigures, MaskFigures, PlainFigures

if TYPE_CHECKING:
    from scripts.tiny_world.measure.adapt import AdaptFigures
    from scripts.tiny_world.measure.gain import GainFindings


@dataclass
class Findings:
    """What was measured, filled line by line; what was not asked for stays empty."""

    lines: list[Line] = field(default_factory=list)
    categories: list[PlainFigures] = field(default_factory=list)  # lines 1 and 3, of each category
    looks: list[LookFigures] = field(default_factory=list)  # line 2, of each object and word
    masks: list[MaskFigures] = field(default_factory=list)  # line 4, of each object
    gain: GainFindings | None = None  # line 5
    swept_looks: list[LookFigures] = field(default_factory=list)  # line 6, of each bg_lambda
    swept_masks: list[MaskFigures] = field(default_factory=list)
    adapted: list[AdaptFigures] = field(default_factory=list)  # line 8, of each kind and object


@dataclass(frozen=True)
class LastSentence:
    """How many targets hold, and how long it took."""

    quick: bool  # a run to try the flow: its figures mean nothing
    continued: bool  # files of an earlier run were there: the seconds are not those of all the work
    seconds: Mapping[str, float]  # of each part

    def __call__(self, lines: Sequence[Line], minutes: float) -> str:
        end = closing(lines, minutes)
        if self.quick:
            took = end.rpartition("; ")[2]
            end = f"quick run: its figures mean nothing, and no target is judged; {took}"
        if self.continued:
            end += " in this run, which continued an earlier one"
        parts = ", ".join(f"{name} {value:.0f} s" for name, value in self.seconds.items())
        return f"{end} ({parts})"
