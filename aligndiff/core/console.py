"""What the user sees: one progress bar, plain lines, a small table."""

from __future__ import annotations

import io
import logging
import os
import shutil
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Protocol, TextIO

from aligndiff.core.errors import printable
from aligndiff.core.ranks import is_first, is_worker, note_progress

if TYPE_CHECKING:
    from tqdm import tqdm

_COUNTS = "{n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left{postfix}"
_LIVE = "{desc} {percentage:3.0f}% {bar:16} " + _COUNTS
_LINE = "{desc}: {percentage:.0f}% in {elapsed}, " + _COUNTS
_TICK = 0.5  # seconds after which a living bar shows what was done, and the clock
_LINE_EVERY = 60.0  # seconds between two lines of a bar that does not live
_SMOOTHING = 0.05  # of the rate, at each update: looks back over some twenty of them
_MOST_CLASSES = 4  # whose counts stand behind the bar

_living: tqdm | None = None  # the bar that lines must be printed above


class Advance(Protocol):
    """Moves a progress bar on by `count`, for a class; `status` replaces what is said of it."""

    def __call__(self, count: int = 1, category: str = "", *, status: str = "") -> None: ...


@contextmanager
def progress(description: str, total: int | Mapping[str, int], done: int = 0) -> Iterator[Advance]:
    """A bar on stderr with counts, rate and time left; yields the function that moves it on.

    A `total` by class makes the counts of the classes show as well. `done` is what was there
    before, which counts for the bar but not for the rate. On a terminal the bar lives; elsewhere
    it is a line a minute and one at the end. Nothing shows on other ranks than the first. A worker
    of ours tells its parent, whose bar shows all of them.
    """
    if is_worker():
        yield note_progress
        return
    totals = {"": total} if isinstance(total, int) else total
    if not is_first() or not sum(totals.values()):
        yield _silent
        return
    bar = _Bar(description, totals, done)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    """The bar of a run, and the thread that keeps it fresh while nothing is done."""

    def __init__(self, description: str, totals: Mapping[str, int], done: int) -> None:
        from tqdm import tqdm

        global _living
        self.totals, self.done, self.status = totals, Counter[str](), dict[str, str]()
        self.live = sys.stderr.isatty()
        self.bar = tqdm(
            desc=description,
            total=sum(totals.values()),
            initial=done,
            file=sys.stderr if self.live else _Nowhere(),
            bar_format=_LIVE if self.live else _LINE,
            colour=None if "NO_COLOR" in os.environ else "cyan",
            ncols=_columns(sys.stderr) if self.live else None,
            smoothing=_SMOOTHING,
            mininterval=0.5,
            miniters=1,
            disable=False,  # whatever TQDM_DISABLE says
        )
        _living = self.bar if self.live else None
        self._closing = Event()
        self._keeper = Thread(target=self._keep_fresh, daemon=True)
        self._keeper.start()

    def advance(self, count: int = 1, category: str = "", *, status: str = "") -> None:
        # A worker that was started again may tell of the same items twice.
        count = min(count, self.bar.total - self.bar.n)
        if category in self.totals:
            count = min(count, self.totals[category] - self.done[category])
        self.done[category] += count
        if status:
            self.status[category] = status
        self.bar.update(count)

    def close(self) -> None:
        global _living
        self._closing.set()
        self._keeper.join()
        if self.live or self.bar.n > self.bar.initial:  # an error needs no line of nothing below it
            self._show()
        _living = None
        self.bar.close()

    def _keep_fresh(self) -> None:
        while not self._closing.wait(_TICK if self.live else _LINE_EVERY):
            self._show()

    def _show(self) -> None:
        self.bar.set_postfix_str(printable(self._details()), refresh=False)
        if self.live:
            self.bar.ncols = _columns(sys.stderr)  # somebody may draw the window wider
            self.bar.refresh()
        else:
            warn(str(self.bar).replace(",  ", ", "))  # tqdm pads the rate

    def _details(self) -> str:
        """ "fish 12/50, dog 3/50 (loss 0.31)" over the classes begun, or those still at work."""
        names = [name for name in list(self.done) if name]  # the work goes on meanwhile
        finished = [name for name in names if self.done[name] == self.totals.get(name)]
        parts = [self.status[""]] if self.status.get("") else []
        if len(self.totals) > _MOST_CLASSES:
            parts.append(f"{len(finished)} of {len(self.totals)} classes")
            names = [name for name in names if name not in finished][-_MOST_CLASSES + 1 :]
        for name in names:
            total = f"/{self.totals[name]}" if name in self.totals else ""
            status = f" ({self.status[name]})" if name in self.status else ""
            parts.append(f"{name} {self.done[name]}{total}{status}")
        return ", ".join(parts)


class _Nowhere(io.TextIOBase):
    """Where tqdm writes when its bar is shown as lines."""

    def write(self, text: str) -> int:
        return len(text)


def say(line: str) -> None:
    """Print one line to stdout; only the first process of a launch says anything."""
    if is_first():
        _print(line, sys.stdout)


def warn(line: str) -> None:
    """Print one line to stderr, above the progress bar if there is one."""
    _print(line, sys.stderr)


def _print(line: str, stream: TextIO) -> None:
    if _living is None:
        print(printable(line) + "\n", end="", file=stream, flush=True)  # in one piece
    else:
        _living.write(printable(line), file=stream)
        stream.flush()


def note(lines: Iterable[str]) -> None:
    """Print what the user may want to look at, a line each, to stderr; once in a launch."""
    if is_first():
        for line in lines:
            warn(f"note: {line}")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a small table to stdout: framed in a terminal, plain aligned columns elsewhere.

    A table that is wider than the terminal is plain as well. Columns that hold only numbers are set
    to the right.
    """
    if not is_first():
        return
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(columns))
    ]
    lines = [list(columns), *cells]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(columns))]
    padded = [
        [_padded(*cell) for cell in zip(line, widths, numeric, strict=True)] for line in lines
    ]
    framed = _shows_frames(sys.stdout) and sum(widths) + 3 * len(widths) < _columns(sys.stdout)
    text = _frame(padded) if framed else ["  " + "  ".join(line).rstrip() for line in padded]
    print(f"\033[1m{title}\033[0m" if framed else title, *text, sep="\n", flush=True)


class _ToStderr(logging.Handler):
    """Shows what the library logs as `warn` shows a line: in one piece, above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage())


def quiet_libraries() -> None:
    """Keep the warnings of other libraries out of the progress bar; errors still show.

    What `aligndiff` itself logs appears above the bar.
    """
    ours = logging.getLogger("aligndiff")
    if not any(isinstance(handler, _ToStderr) for handler in ours.handlers):
        ours.addHandler(_ToStderr(logging.WARNING))
    warnings.filterwarnings("ignore", module="PIL")  # of odd metadata in photos
    warnings.filterwarnings("ignore", category=FutureWarning)  # of what they will do without
    for name in ("transformers", "diffusers", "huggingface_hub", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _frame(lines: Sequence[Sequence[str]]) -> list[str]:
    """`lines` of padded cells, the names of the columns first, in a frame."""
    rules = ["─" * (_width(cell) + 2) for cell in lines[0]]
    body = ["│ " + " │ ".join(line) + " │" for line in lines]
    top, middle, bottom = ("┬".join(rules), "┼".join(rules), "┴".join(rules))
    return [f"╭{top}╮", body[0], f"├{middle}┤", *body[1:], f"╰{bottom}╯"]


def _padded(cell: str, width: int, right: bool) -> str:
    gap = " " * (width - _width(cell))
    return gap + cell if right else cell + gap


def _width(text: str) -> int:
    """The columns that a text takes in a terminal: two for each Chinese character, say."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide


def _shows_frames(stream: TextIO) -> bool:
    try:
        "─│╭".encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return stream.isatty()


def _columns(stream: TextIO) -> int:
    """Of the terminal behind a stream; where it does not say, of COLUMNS, else 80."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        columns = 0
    return columns or shutil.get_terminal_size().columns


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value))


def _silent(count: int = 1, category: str = "", *, status: str = "") -> None:
    return None
