"""What a command printed, taken apart."""

from __future__ import annotations

import re

_BAR = re.compile(r": \d+% in \d\d:\d\d, \d+/\d+, ")


def without_bar(err: str) -> list[str]:
    """The lines of stderr but those of progress bars."""
    return [line for line in err.splitlines() if not _BAR.search(line)]
