"""What the user sees: one progress bar, plain lines, a small table."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from aligndiff.core.errors import printable
from aligndiff.core.ranks import is_first, is_worker, note_progress

# One console for the bar and for messages, so that a message appears above a living bar.
_STDERR = Console(stderr=True, highlight=False, markup=False, emoji=False)

# An image may take a minute: the rate must look back over more than one of them.
_RATE_PERIOD = 300.0  # seconds


class Advance(Protocol):
    """Moves a progress bar on by `count`; a non-empty `status` replaces the text at its end."""

    def __call__(self, count: int = 1, *, status: str = "") -> None: ...


@contextmanager
def progress(description: str, total: int, done: int = 0) -> Iterator[Advance]:
    """A bar on stderr with rate and time left; yields the function that moves it on.

    `done` is what was there before, which counts for the bar but not for the rate. Nothing shows
    when stderr is not a terminal, or on other ranks than the first. A worker of ours tells its
    parent, whose bar shows all of them.
    """
    if is_worker():
        yield _tell_parent
        return
    if not sys.stderr.isatty() or not is_first():
        yield _silent
        return
    bar = Progress(
        SpinnerColumn(style="cyan"),
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left", style="dim"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", style="dim", markup=False),
        console=_STDERR,
        speed_estimate_period=_RATE_PERIOD,
    )
    with bar:
        task = bar.add_task(description, total=total, completed=done, status="")

        def advance(count: int = 1, *, status: str = "") -> None:
            if status:
                bar.update(task, status=status)
            bar.advance(task, count)

        yield advance


def say(line: str) -> None:
    """Print one line to stdout; only the first process of a launch says anything."""
    if is_first():
        print(printable(line), flush=True)


def warn(line: str) -> None:
    """Print one line to stderr, above the progress bar if there is one."""
    _STDERR.print(printable(line), soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a small table to stdout: framed in a terminal, plain aligned columns elsewhere.

    Columns that hold only numbers are set to the right.
    """
    if not is_first():
        return
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(columns))
    ]
    if sys.stdout.isatty():
        _print_framed(title, columns, cells, numeric)
    else:
        _print_plain(title, columns, cells, numeric)


def quiet_libraries() -> None:
    """Keep the warnings of other libraries out of the progress bar; errors still show."""
    warnings.filterwarnings("ignore", module="PIL")  # of odd metadata in photos
    warnings.filterwarnings("ignore", category=FutureWarning)  # of what they will do without
    for name in ("transformers", "diffusers", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _print_framed(
    title: str, columns: Sequence[str], cells: list[list[str]], numeric: list[bool]
) -> None:
    # Text, not str: a name may hold brackets, which rich takes for its own marks.
    heading = Text(title, style="bold")
    framed = Table(title=heading, title_justify="left", box=box.ROUNDED)
    for name, right in zip(columns, numeric, strict=True):
        framed.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in cells:
        framed.add_row(*(Text(value) for value in row))
    Console(highlight=False).print(framed)


def _print_plain(
    title: str, columns: Sequence[str], cells: list[list[str]], numeric: list[bool]
) -> None:
    lines = [list(columns), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    print(title)
    for line in lines:
        padded = (
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(line, widths, numeric, strict=True)
        )
        print("  " + "  ".join(padded).rstrip(), flush=True)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value))


def _tell_parent(count: int = 1, *, status: str = "") -> None:
    note_progress(count)


def _silent(count: int = 1, *, status: str = "") -> None:
    return None


class _RateColumn(ProgressColumn):
    """Items a second, or seconds an item when slow."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("", style="dim")
        words = f"{speed:.1f} it/s" if speed >= 1 else f"{1 / speed:.1f} s/it"
        return Text(words, style="cyan")
