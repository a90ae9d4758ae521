"""Masks drawn by hand: a page of this machine's own, where a person outlines each photo's object.

The interface for `scripts/prepare_dataset.py --outline`:

    def save(photo: Path, mask: Mask) -> None:
        ...  # copy the photo, write the mask beside it with `write_mask`

    saved = outline_photos(photos, save, title="mushroom", announce=say)

`outline_photos` tells through `announce` where the page is, waits until the person is done, and
returns the photos whose masks were saved, in the order of `photos`. Each mask is saved when the
person goes on to the next photo, so that nothing is lost when the command is stopped: Ctrl-C passes
through as KeyboardInterrupt, after a mask that is just being written. Nothing is written but by
`save`.
"""

from __future__ import annotations

import getpass
import json
import math
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError, as_problem
from aligndiff.dataset.images import OBJECT, encode_preview, read_photo, resize_image
from aligndiff.dataset.masks import read_mask
from aligndiff.preparation.local_server import HOST, LocalServer, Response

Mask = NDArray[np.bool_]  # (h, w) of the upright photo (EXIF applied), True on the object
Save = Callable[[Path, Mask], None]

# What the server gives out; the photos and masks go by their place in the list, never by a name.
_PAGE_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "outline.css": ("outline.css", "text/css; charset=utf-8"),
    "outline.js": ("outline.js", "text/javascript; charset=utf-8"),
    "stage.js": ("stage.js", "text/javascript; charset=utf-8"),
    "mask.js": ("mask.js", "text/javascript; charset=utf-8"),
}
_NUMBERED = re.compile(r"(photos|thumbnails|masks)/(0|[1-9]\d{0,5})", re.ASCII)
_BYTES, _JSON, _JPEG = "application/octet-stream", "application/json", "image/jpeg"
_MOST_SHOWN = 16_000_000  # pixels of a photo in the page; masks have the photo's own size
_THUMBNAIL = 160  # px, the longer side
_NO_CONTENT, _CONFLICT = 204, 409


def outline_photos(
    photos: Sequence[Path],
    save: Save,
    *,
    announce: Callable[[str], None],
    title: str = "",
    masks: Mapping[Path, Path] = MappingProxyType({}),
    port: int = 0,
) -> list[Path]:
    """Let a person draw the masks of `photos` in a browser; returns the photos that were saved.

    save: is called with the photo and its mask, never an empty one, once or (after corrections)
        more often for a photo, by one thread at a time; what it raises as InputError or OSError is
        shown in the page and the person goes on.
    announce: prints a line: the page's address, and how to reach it from another machine.
    title: what is to be outlined, shown in the page; the category.
    masks: mask files of photos that have one, to be corrected.
    port: of 127.0.0.1; 0 takes a free one. InputError when it is taken.
    """
    done = threading.Event()
    session = _Session(tuple(photos), save, title, masks, done.set)
    with LocalServer(session, port, failed=done.set) as server:
        announce(f"draw the masks in a browser, and press Finish there: {server.address}")
        announce(f"from another machine, first type there: {_tunnel(server.port)}")
        try:
            while not done.wait(1.0):  # with a time, or Windows heeds no Ctrl-C
                pass
        finally:
            session.close()
    if server.failure is not None:
        raise server.failure
    return session.saved


def _tunnel(port: int) -> str:
    """The command that brings our port to the machine where it is typed."""
    return f"ssh -N -L {port}:{HOST}:{port} {getpass.getuser()}@{socket.gethostname()}"


@dataclass(frozen=True)
class _Shown:
    """A photo as the page gets it."""

    size: tuple[int, int]  # (h, w) of the upright photo, and so of its mask
    jpeg: bytes  # at most `_MOST_SHOWN` pixels


class _Session:
    """The photos of one call and what is drawn of them: the `Site` of the server."""

    def __init__(
        self,
        photos: tuple[Path, ...],
        save: Save,
        title: str,
        masks: Mapping[Path, Path],
        finish: Callable[[], None],
    ) -> None:
        self._photos, self._save, self._title, self._masks = photos, save, title, masks
        self._finish = finish
        self._drawn: dict[int, bytes] = {}  # packed bits, of the masks that were saved
        self._sizes: dict[int, tuple[int, int]] = {}
        self._closed = False
        self._saving = threading.Lock()
        self._reading = threading.Lock()  # large photos one after the other: each takes 36 MB
        self._shown = lru_cache(maxsize=4)(self._read)

    @property
    def saved(self) -> list[Path]:
        return [self._photos[number] for number in sorted(self._drawn)]

    def close(self) -> None:
        """Wait for a mask that is being saved; save no other."""
        with self._saving:
            self._closed = True

    def get(self, path: str) -> Response | None:
        if path in _PAGE_FILES:
            name, kind = _PAGE_FILES[path]
            return Response(files(__package__).joinpath("page", name).read_bytes(), kind)
        if path == "session.json":
            return Response(json.dumps(self._description()).encode(), _JSON)
        kind, number = self._numbered(path)
        answers = {"photos": self._photo, "thumbnails": self._thumbnail, "masks": self._mask}
        try:
            return answers[kind](number) if kind else None
        except InputError as error:
            return Response("\n".join(error.problems).encode(), status=_CONFLICT)

    def body_size(self, path: str) -> int | None:
        if path == "done":
            return 0
        kind, number = self._numbered(path)
        try:
            return math.ceil(math.prod(self._size(number)) / 8) if kind == "masks" else None
        except InputError:
            return None  # a photo that cannot be read has no mask

    def put(self, path: str, body: bytes) -> Response:
        if path == "done":
            return Response(status=_NO_CONTENT, afterwards=self._finish)
        _, number = self._numbered(path)
        size = self._size(number)
        bits = np.unpackbits(np.frombuffer(body, np.uint8), count=math.prod(size))
        if not bits.any():
            return Response(b"nothing is drawn yet", status=_CONFLICT)
        with self._saving:
            problems = self._try_to_save(number, bits.astype(bool).reshape(size))
            if not problems:
                self._drawn[number] = body
        return Response("\n".join(problems).encode(), status=_CONFLICT if problems else _NO_CONTENT)

    def _try_to_save(self, number: int, mask: Mask) -> Sequence[str]:
        """Save a mask; returns what a person can do something about when it fails."""
        if self._closed:
            return ["the command has ended"]
        try:
            self._save(self._photos[number], mask)
        except Exception as error:
            problem = as_problem(error)
            if problem is None:
                raise
            return problem.problems
        return []

    def _numbered(self, path: str) -> tuple[str, int]:
        """What is asked for of which photo, as in "masks/3"; ("", 0) for anything else."""
        match = _NUMBERED.fullmatch(path)
        if match is None or int(match[2]) >= len(self._photos):
            return "", 0
        return match[1], int(match[2])

    def _description(self) -> dict[str, object]:
        return {
            "title": self._title,
            "photos": [
                {"name": photo.name, "saved": number in self._drawn or photo in self._masks}
                for number, photo in enumerate(self._photos)
            ],
        }

    def _read(self, number: int) -> _Shown:
        image = read_photo(self._photos[number]).image
        height, width = image.shape[:2]
        shrink = math.sqrt(min(1.0, _MOST_SHOWN / (height * width)))
        if shrink < 1:
            image = resize_image(image, (round(height * shrink), round(width * shrink)))
        return _Shown((height, width), encode_preview(image))

    def _size(self, number: int) -> tuple[int, int]:
        if number not in self._sizes:
            with self._reading:
                self._sizes[number] = self._shown(number).size
        return self._sizes[number]

    def _photo(self, number: int) -> Response:
        with self._reading:
            shown = self._shown(number)
        height, width = shown.size
        return Response(shown.jpeg, _JPEG, headers={"X-Photo-Size": f"{width}x{height}"})

    def _thumbnail(self, number: int) -> Response:
        with self._reading:
            image = read_photo(self._photos[number]).image
        height, width = image.shape[:2]
        shrink = min(1.0, _THUMBNAIL / max(height, width))
        small = max(1, round(height * shrink)), max(1, round(width * shrink))
        return Response(encode_preview(resize_image(image, small)), _JPEG)

    def _mask(self, number: int) -> Response:
        """The mask so far as packed bits, row by row, the first pixel in the highest bit."""
        if number in self._drawn:
            return Response(self._drawn[number], _BYTES)
        path = self._masks.get(self._photos[number])
        if path is None:
            return Response(status=_NO_CONTENT)
        mask = read_mask(path) == OBJECT
        if mask.shape != self._size(number):
            raise InputError(f"{path}: is not of the photo's size; draw the mask anew")
        return Response(np.packbits(mask).tobytes(), _BYTES)
