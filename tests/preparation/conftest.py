"""A page to outline photos in, open while a test runs, and photos to draw on."""

from __future__ import annotations

import http.client
import queue
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aligndiff.dataset.images import write_mask
from aligndiff.preparation.outline import Mask, outline_photos

_PATIENCE = 60.0  # seconds; of a server that hangs


@dataclass
class Outlining:
    """One call of `outline_photos`, which runs in a thread."""

    folder: Path  # gets the masks, under the photos' names
    lines: list[str]
    saved: list[tuple[Path, Mask]] = field(default_factory=list)
    result: list[Path] | BaseException | None = None

    @property
    def address(self) -> str:
        match = re.search(r"http://\S+", self.lines[0])
        assert match
        return match[0]

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def mask_path(self, photo: Path) -> Path:
        return self.folder / f"{photo.stem}.png"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Ask as the page does; `headers` come on top, a path from "/" on is taken as it is."""
        own = {"Origin": self.origin} if method != "GET" else {}
        place = path if path.startswith("/") else urlsplit(self.address).path + path
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            connection.request(method, place, body, own | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def outlining(photos: Sequence[Path], folder: Path, **options: Any) -> Iterator[Outlining]:
    """Run `outline_photos` beside the test; it is finished at the end, if it is not yet."""
    lines: queue.Queue[str] = queue.Queue()
    outline = Outlining(folder, [])

    def save(photo: Path, mask: Mask) -> None:
        outline.saved.append((photo, mask))
        write_mask(outline.mask_path(photo), mask)

    def run() -> None:
        try:
            outline.result = outline_photos(
                photos, **({"save": save} | options), announce=lines.put
            )
        except BaseException as error:
            outline.result = error

    thread = threading.Thread(target=run)
    thread.start()
    outline.lines += [lines.get(timeout=_PATIENCE) for _ in range(2)]
    try:
        yield outline
    finally:
        with suppress(ConnectionError):  # it may have ended already
            outline.ask("PUT", "done", b"")
        thread.join(_PATIENCE)
        assert not thread.is_alive()
