"""Files of captions, read as a stream: a line, or a caption, at a time."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from aligndiff.core.errors import InputError, printable

# The columns and keys that captions stand in, as data sets name them; the first there is taken.
_NAMES = ("caption", "text", "captions", "caption_text", "sentence", "prompt", "title", "TEXT")
_LONGEST = 2000  # characters; what is longer is no caption, and is skipped
_NOT_UTF8 = "\ufffd"  # what Python reads for a stray byte; such a caption is skipped too
_FIRST = 1000  # captions that tell whether a file is UTF-8 at all
_STRAY = 0.01  # share of captions with stray bytes from which it is not
_CHUNK = 2**20  # characters read at once
_ROWS = 4096  # of a parquet file
_STRING = r'"((?:[^"\\]|\\.)*)"'
_CAPTION_KEY = re.compile(rf'"caption"\s*:\s*{_STRING}')


def read_captions(path: Path) -> Iterator[str]:
    """The captions of a file, in its order. Raises InputError for one that cannot be read."""
    yield from (text for text in _texts(path) if _NOT_UTF8 not in text)


def _texts(path: Path) -> Iterator[str]:
    """The captions of a file, those with stray bytes as well."""
    reader = _READERS[path.suffix.lower()]
    try:
        for caption in reader(path):
            text = " ".join(caption.split())
            if text and len(text) <= _LONGEST:
                yield text
    except csv.Error as error:
        raise InputError(f"{path}: not a table of captions: {error}; correct it") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read; change its permissions") from None


def check_captions(path: Path) -> None:
    """Raise InputError for a file that is not there, of another kind, not UTF-8, or empty."""
    if not path.is_file():
        raise InputError(f"--captions {path}: no such file; put it there or correct the name")
    if path.suffix.lower() not in _READERS:
        kinds = ", ".join(_READERS)
        raise InputError(f"--captions {path}: must be one of {kinds}; rename or convert it")
    first = list(islice(_texts(path), _FIRST))
    # UTF-16 reads as letters with NUL bytes between.
    stray = [text for text in first if _NOT_UTF8 in text or "\0" in text]
    if len(stray) > _STRAY * len(first):
        where = printable(stray[0][:40])
        raise InputError(f'--captions {path}: not UTF-8 text (in "{where}"); save it as UTF-8')
    if not first:
        raise InputError(f"--captions {path}: holds no caption; docs/PROMPTS.md shows each kind")


def _text(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        yield from file


def _table(path: Path) -> Iterator[str]:
    """A column of a table; without a heading that is known, the last column of every line."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        if path.suffix.lower() == ".csv":
            rows = csv.reader(file)
        else:
            rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        first = next(rows, [])
        column = next((first.index(name) for name in _NAMES if name in first), None)
        if column is None:
            column = -1
            yield from first[-1:]
        for row in rows:
            if len(row) > max(column, 0):
                yield row[column]


def _json_lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield from _captions_of(json.loads(line))
            except json.JSONDecodeError as error:
                problem = f"{path}: line {number} is not valid JSON: {error.msg}"
                raise InputError(f"{problem}; correct it, or take the line out") from None


def _captions_of(value: Any) -> Iterator[str]:
    """The captions of a line: a text, or an object's first known key with one or several."""
    if isinstance(value, dict):
        value = next((value[name] for name in _NAMES if value.get(name)), None)
    items = value if isinstance(value, list) else [value]
    yield from (item for item in items if isinstance(item, str))


def _coco(path: Path) -> Iterator[str]:
    """Every "caption" of a COCO file (`captions_train2017.json`), which is never read whole."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for match in _matches(file, _CAPTION_KEY):
            try:
                yield json.loads(f'"{match}"')
            except json.JSONDecodeError:  # an escape that JSON has not: no caption of ours
                continue


def _matches(file: IO[str], pattern: re.Pattern[str]) -> Iterator[str]:
    """The first group of every match in a stream; none is longer than a chunk."""
    rest = ""
    while chunk := file.read(_CHUNK):
        rest += chunk
        end = 0
        for match in pattern.finditer(rest):
            end = match.end()
            yield match[1]
        rest = rest[max(end, len(rest) - 8 * _LONGEST) :]


def _parquet(path: Path) -> Iterator[str]:
    try:
        import pyarrow.lib
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(f"--captions {path}: needs a package: pip install pyarrow") from None
    try:
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        column = next((name for name in _NAMES if name in names), None)
        if column is None:
            known = ", ".join(_NAMES)
            raise InputError(f"{path}: has no column of captions ({known}); rename its own")
        for batch in file.iter_batches(_ROWS, columns=[column]):
            for value in batch.column(0).to_pylist():
                yield from _captions_of(value)
    except pyarrow.lib.ArrowException as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{path}: not a parquet file: {problem}; replace the file") from None


_READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".txt": _text,
    ".tsv": _table,
    ".csv": _table,
    ".jsonl": _json_lines,
    ".json": _coco,
    ".parquet": _parquet,
}
