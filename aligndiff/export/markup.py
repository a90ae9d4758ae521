"""Names and texts of users, made safe for folders and for Markdown."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

from aligndiff.core.errors import printable
from aligndiff.dataset.entries import slug

_HASH_LENGTH = 8  # hex digits, as in an entry's id
# What Markdown would take for marks of its own: brackets, stars and such, an underscore at the edge
# of a word, and the start of a link.
_MARKS = re.compile(
    r"([\\`*\[\]<>#|&~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=www)\.)", re.IGNORECASE
)


def folder_names(categories: Sequence[str]) -> dict[str, str]:
    """A folder name for each category: plain letters, digits and dashes, no two alike.

    Categories that would share one ("a b" and "a-b", "Dog" and "dog") get a hash of their own name
    behind it, whatever their order.
    """
    shared = Counter(slug(category) for category in categories)
    return {
        category: slug(category) if shared[slug(category)] == 1 else hashed_slug(category)
        for category in categories
    }


def hashed_slug(text: str) -> str:
    """Such as "great-white-shark-1a2b3c4d": readable, and different for different texts."""
    data = text.encode("utf-8", "backslashreplace")  # the name of a file may hold stray bytes
    return f"{slug(text)}-{hashlib.sha256(data).hexdigest()[:_HASH_LENGTH]}"


def markdown_text(text: object) -> str:
    """`text` as Markdown that shows them as they are, on one line, also in a cell of a table."""
    return _MARKS.sub(r"\\\1", printable(" ".join(str(text).split())))
