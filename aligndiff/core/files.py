"""Files that appear whole, and fingerprints of what they hold."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.ranks import is_first, launched_share

_MOST_JSON_BYTES = 16 * 2**20  # some 60,000 entries, or the losses of a million steps
_LEFTOVER = re.compile(r"\..+\.\d+(\.[0-9a-f]{8})?\.tmp", re.DOTALL)  # what `atomic_path` makes
_LEFTOVER_AGE = 60.0  # seconds; a file is written within one
_FINGERPRINT_LENGTH = 16  # hex digits: 64 bits, no accidental collision among millions of files


@dataclass(frozen=True)
class FilePart:
    """Some bytes of a file, read like a file of its own: `size` of them, from `offset` on."""

    path: Path
    offset: int
    size: int
    name: str  # what it is, for messages

    def __str__(self) -> str:
        return f"{self.path} ({self.name})"

    def read_bytes(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise InputError(f"{self}: the file ends before it; put a whole copy in its place")
        return data


Source = str | Path | FilePart  # what can be read


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` on success, vanishes on error.

    Its data are on the disk before it becomes `path`: after a power cut a file is whole or is not
    there. Its folder is made, but none above it: a dataset that was deleted meanwhile, or whose
    disk is gone, must not come back as half a tree. An OSError names `path`.
    The file gets the mode that the umask gives, also when the writer creates it with another one
    (safetensors writes 0600).
    """
    path = Path(path)
    # The process number alone would not do: machines that share a disk may have it in common.
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        with open(beside, "xb") as file:
            usual_mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield beside
        with open(beside, "r+b") as file:
            os.fsync(file.fileno())
        os.chmod(beside, usual_mode)
        os.replace(beside, path)
    except OSError as error:
        if error.filename in (None, str(beside)):  # a full disk is told without a name
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # it would hide the error that brought us here
            beside.unlink(missing_ok=True)


def remove_leftovers(files: Iterable[Path]) -> None:
    """Remove the hidden files that killed runs left in the folders of `files`.

    For a run that nobody else writes beside. Of several processes the first one does it for all,
    and leaves what is younger than a minute: it may be another one's that is being written. The
    workers that we start leave it to their parent.
    """
    if not is_first():
        return
    newest = math.inf if launched_share() is None else time.time() - _LEFTOVER_AGE
    for folder in {path.parent for path in files}:
        with suppress(FileNotFoundError), os.scandir(folder) as items:
            for item in items:
                if not _LEFTOVER.fullmatch(item.name):
                    continue
                with suppress(FileNotFoundError):  # another process was just done with it
                    if item.stat(follow_symlinks=False).st_mtime <= newest:
                        os.unlink(item.path)


def write_bytes(path: str | Path, data: bytes) -> None:
    with atomic_path(path) as beside:
        beside.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8; stray bytes of a file name, which UTF-8 cannot hold, as an escape (\\udce9)."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, obj: object) -> None:
    """Write readable, stable JSON; NaN and infinity raise ValueError, they are not JSON."""
    text = json.dumps(obj, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_input(path: Source, most_bytes: int) -> bytes:
    """The bytes of a file, or of a part of one, that somebody else made.

    InputError when it is missing, may not be read, is larger than `most_bytes`, or is no file at
    all: a pipe or a device could keep us waiting, or never end.
    """
    whole = path.path if isinstance(path, FilePart) else Path(path)
    try:
        status = os.stat(whole)
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a folder, not a file; put the file in its place")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is a pipe or a device, not a file; put a file in its place")
        length = path.size if isinstance(path, FilePart) else status.st_size
        if length > most_bytes:
            size = f"{length / 2**20:.0f} MiB large, at most {most_bytes / 2**20:g}"
            raise InputError(f"{path}: is {size} MiB are read; make it smaller")
        return path.read_bytes() if isinstance(path, FilePart) else whole.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; put it there or correct the name") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read; change its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read: {reason}; replace the file") from None


def read_json(path: Source, most_bytes: int = _MOST_JSON_BYTES) -> Any:
    """Read a JSON file; InputError names the file, and the line and column of a syntax error.

    A byte order mark is skipped. A key that is there twice, NaN and infinity are errors too.
    """
    try:
        text = read_input(path, most_bytes).decode("utf-8-sig")  # Windows editors add a BOM
        return json.loads(
            text, parse_constant=_reject_constant, object_pairs_hook=_with_every_key_once
        )
    except UnicodeDecodeError as error:
        problem = f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        raise InputError(problem) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: not valid JSON at {where}: {error.msg}; correct it") from None
    except RecursionError:
        problem = f"{path}: lists or objects within each other, too deep to read"
        raise InputError(f"{problem}; take the needless ones away") from None
    except _NotJSONError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    except ValueError:  # the only one left: Python reads no number of that length
        raise InputError(
            f"{path}: not valid JSON: a number of thousands of digits; write a shorter one"
        ) from None


class _NotJSONError(ValueError):
    pass


def _reject_constant(name: str) -> None:
    raise _NotJSONError(f"{name} is no JSON number; write null or a number")


def _with_every_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _NotJSONError(f'the key "{twice}" is there twice in one object; remove one of them')
    return table


def typed_path(word: str) -> Path:
    """A path as typed; "~", which a shell leaves alone after "=" or in quotes, is the home.

    "~somebody" of nobody stays as it is.
    """
    return Path(os.path.expanduser(word))


def hint_for_backslashes(path: str | Path) -> str:
    """What to add to "no such folder" for a path as Windows writes it; else nothing."""
    if os.sep == "\\" or "\\" not in str(path):
        return ""
    if PureWindowsPath(path).drive:
        return " (a path of Windows: write it as this system does, with /)"
    return f" (folders are parted by / here: {PureWindowsPath(path).as_posix()})"


def check_writable(files: Iterable[Path]) -> None:
    """Raise one InputError that names every place where one of `files` cannot be written.

    Nothing is written to find out: a run that takes days must not stumble over this at its end.
    """
    problems: list[str] = []
    for path in files:
        folder = next(parent for parent in path.parents if os.path.lexists(parent))
        if path.is_dir():
            problems.append(f"{path}: is a folder where a file is to be written; move it away")
        elif not folder.is_dir():
            problems.append(f"{folder}: is no folder, but files are to be written in it; move it")
        elif os.statvfs(folder).f_flag & os.ST_RDONLY:  # one line for all that lies there
            above = folder.absolute()
            disk = next(place for place in (above, *above.parents) if os.path.ismount(place))
            what = "this disk is mounted for reading only; mount it for writing"
            problems.append(f"{disk}: {what}, or copy the dataset elsewhere")
        elif not os.access(folder, os.W_OK | os.X_OK):
            what = "may not be written to; change its permissions, or copy the dataset elsewhere"
            problems.append(f"{folder}: {what}")
    if problems:
        raise InputError(list(dict.fromkeys(problems)))  # many files share a folder


def fingerprint(obj: object) -> str:
    """First 16 hex digits of the SHA-256 of `obj` as canonical JSON (keys sorted, no spaces)."""
    canonical = json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:_FINGERPRINT_LENGTH]


def file_fingerprint(path: str | Path) -> str:
    """First 16 hex digits of the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_FINGERPRINT_LENGTH]
