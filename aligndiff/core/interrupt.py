"""Ctrl-C that waits for a good moment."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_later() -> Iterator[Callable[[], bool]]:
    """While open, the first Ctrl-C only makes the yielded function say True.

    Whoever asks it comes to an end in good order; on leaving, KeyboardInterrupt is raised after
    all. A second Ctrl-C interrupts at once. Only for the main thread.
    """
    pressed = False

    def note(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
