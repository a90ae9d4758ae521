"""Files that appear whole, and fingerprints of what they hold."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aligndiff.ground.errors import InputError

_FINGERPRINT_LENGTH = 16  # hex digits: 64 bits, no accidental collision among millions of files


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` on success, vanishes on error.

    Folders are made as needed. The file gets the mode that the umask gives, also when the writer
    creates it with another one (safetensors writes 0600).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            usual_mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield beside
        os.chmod(beside, usual_mode)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    with atomic_path(path) as beside:
        beside.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, obj: object) -> None:
    """Write readable, stable JSON; NaN and infinity raise ValueError, they are not JSON."""
    text = json.dumps(obj, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; InputError names the file, and the line and column of a syntax error."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors put a byte order mark first
        return json.loads(text, parse_constant=_reject_constant)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a file") from None
    except UnicodeDecodeError as error:
        problem = f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        raise InputError(problem) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: not valid JSON at {where}: {error.msg}") from None
    except _NotJSONError as error:
        problem = f"{path}: not valid JSON: {error} is no JSON number; write null or a number"
        raise InputError(problem) from None


class _NotJSONError(ValueError):
    pass


def _reject_constant(name: str) -> None:
    raise _NotJSONError(name)


def fingerprint(obj: object) -> str:
    """First 16 hex digits of the SHA-256 of `obj` as canonical JSON (keys sorted, no spaces)."""
    canonical = json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:_FINGERPRINT_LENGTH]


def file_fingerprint(path: str | Path) -> str:
    """First 16 hex digits of the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_FINGERPRINT_LENGTH]
