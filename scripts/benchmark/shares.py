"""What a script spends its time on, looked at from outside: a sampling profiler of four kinds.

    python -m scripts.benchmark.shares SHARES.json scripts.mask_generation --dataset_dir ...

runs the script as `python -m` does. A thread looks every few milliseconds at what the main thread
is doing, and at the end writes the seconds of each kind.
"""

from __future__ import annotations

import re
import runpy
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Literal

from aligndiff.core.files import write_json

Kind = Literal["loading", "computing", "writing", "other"]

INTERVAL = 0.005  # seconds between two looks
# The first rule that fits the innermost frame which any rule fits decides. A place is
# "path/of/the/file.py:function"; `importlib` runs the bodies of modules.
RULES: tuple[tuple[str, Kind], ...] = (
    (r"\bimportlib\b", "loading"),
    (r"aligndiff/data/images\.py:(write|_encode|text_)", "writing"),
    (r"aligndiff/data/images\.py:", "loading"),
    (r"aligndiff/ground/files\.py:(write|atomic)", "writing"),
    (r"aligndiff/ground/files\.py:(read|file_finger)", "loading"),
    (r"aligndiff/stages/\w+\.py:draw_", "computing"),
    (r"aligndiff/data/(ink|overlay|plot)\.py:|aligndiff/\w+/\w*sheet\.py:", "writing"),
    (r"aligndiff/data/records\.py:write", "writing"),
    (r"aligndiff/data/\w+\.py:(_?write|_?discard|begin|prepare|clear|copy_embedding)", "writing"),
    (r"aligndiff/data/", "loading"),
    (r"aligndiff/models/(weights|hub|ssp_checkpoint|device)\.py:", "loading"),
    (r"aligndiff/models/diffusion\.py:(load|_from_pretrained)", "loading"),
    (r"aligndiff/(models|stages)/", "computing"),
)


def kind_of(places: Iterable[str]) -> Kind:
    """The kind of work at `places`, "file:function" from the innermost frame outwards."""
    for place in places:
        for pattern, kind in RULES:
            if re.search(pattern, place):
                return kind
    return "other"


def places_of(frame: FrameType | None) -> Iterator[str]:
    """Where a stack is, innermost first."""
    while frame is not None:
        yield f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        frame = frame.f_back


class Sampler(threading.Thread):
    """Looks at the main thread until it is stopped; `seconds` holds the time of each kind."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: Counter[Kind] = Counter()
        self._done = threading.Event()
        self._main = threading.main_thread().ident

    def run(self) -> None:
        before = time.perf_counter()
        while not self._done.wait(INTERVAL):
            frame = sys._current_frames().get(self._main or 0)
            # A look may come late: all the time since the last one counts as what is seen now.
            now = time.perf_counter()
            self.seconds[kind_of(places_of(frame))] += now - before  # type: ignore[assignment]
            before = now

    def stop(self) -> None:
        self._done.set()
        self.join()


def main(argv: list[str]) -> None:
    """Run the script `argv[1]` with the arguments after it; write its shares to `argv[0]`."""
    target, module, *words = argv
    sys.argv = [module, *words]
    sampler = Sampler()
    sampler.start()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sampler.stop()
        write_json(Path(target), dict(sampler.seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
