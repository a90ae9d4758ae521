"""Text from files and from other programs, made fit to be shown on one line of a terminal."""

from __future__ import annotations

import re

_MOST_CHARACTERS = 1000  # of a line: a value of a hostile file may hold megabytes
_END = 300  # characters of the end that are kept, where a message says what to do


def printable(text: str) -> str:
    r"""`text` with line breaks, control characters and stray bytes written as \n, \x1b, \udce9."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def one_line(text: str) -> str:
    """`text` printable, line breaks turned into spaces, and cut in the middle when very long."""
    line = printable(re.sub(r"\s*\n\s*", " ", text.strip()))
    if len(line) <= _MOST_CHARACTERS:
        return line
    return f"{line[: _MOST_CHARACTERS - _END]} ... {line[-_END:]}"
