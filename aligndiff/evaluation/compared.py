"""One segmenter, or several that answer the same questions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count

from aligndiff.core.options import option
from aligndiff.segmenters.load import (
    AUTO,
    CHECKPOINTED,
    SEGMENTERS,
    SegmenterChoice,
    SegmenterOptions,
    choose_segmenter,
)


@dataclass(frozen=True)
class ComparedSegmenters(SegmenterOptions):
    """Which few-shot segmenters, with which weights."""

    segmenter: str = option(
        AUTO,
        "which few-shot segmenter, as in step 3, or several parted by commas to compare them; "
        "NAME:MODEL gives one weights of its own",
        metavar="NAME[,NAME...]",
    )

    @property
    def names(self) -> list[str]:
        return self.segmenter.split(",")

    def contradictions(self) -> list[str]:
        """A name that is no segmenter's; and one segmenter has one set of weights."""
        known = (AUTO, *SEGMENTERS)
        names = [word.partition(":")[0] for word in self.names]
        unknown = [
            f"--segmenter: must be one of {', '.join(known)}, is {name}"
            for name in names
            if name not in known
        ]
        return unknown + (super().contradictions() if len(names) == 1 else [])


def choose_compared(
    options: ComparedSegmenters, default: str | None = None
) -> dict[str, SegmenterChoice]:
    """The segmenters in their order, by a label for tables and files: its name, numbered if twice.

    Of several, `fss_ckpt_path` is that of ssp and `segmenter_model` that of the others. Raises as
    `choose_segmenter` does, and InputError for a name that is no segmenter's.
    """
    several, chosen = len(options.names) > 1, dict[str, SegmenterChoice]()
    times = Counter(word.partition(":")[0] for word in options.names)
    numbers = {name: count(1) for name in times}
    for word in options.names:
        name, _, model = word.partition(":")
        has_checkpoint = several and name == CHECKPOINTED
        single = SegmenterOptions(
            name,
            None if model or (several and not has_checkpoint) else options.fss_ckpt_path,
            model or (None if has_checkpoint else options.segmenter_model),
        )
        label = f"{name}_{next(numbers[name])}" if times[name] > 1 else name
        chosen[label] = choose_segmenter(single, default)
    return chosen
