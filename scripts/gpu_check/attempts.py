"""One attempt after the other, each with its own failure, in a process that may die."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from aligndiff.core.console import quiet_libraries
from aligndiff.core.errors import one_line
from scripts.gpu_check.config import MODULES, Check, GpuCheckConfig
from scripts.gpu_check.lines import left_out, tried
from scripts.reporting import Line

if TYPE_CHECKING:
    import torch

_PATIENCE = 10.0  # seconds that a process gets to end by itself
_OVER = "the minutes are over"


@dataclass(frozen=True)
class Place:
    """Where a check runs, and until when (`time.time()`)."""

    config: GpuCheckConfig
    ends: float

    @cached_property
    def device(self) -> torch.device:
        from aligndiff.core.device import choose_device

        return choose_device(self.config.device)

    @cached_property
    def dtype(self) -> torch.dtype:
        """The 16-bit type of a card; float32 of a CPU."""
        import torch

        from aligndiff.core.device import choose_dtype

        return torch.float32 if self.config.small else choose_dtype("auto", self.device)

    @contextmanager
    def logging(self) -> Iterator[None]:
        """While open, what is printed goes to the log."""
        with self.config.log.open("a", encoding="utf-8") as log:
            with redirect_stdout(log), redirect_stderr(log):
                yield

    @property
    def seconds_left(self) -> float:
        return self.ends - time.time()


@dataclass(frozen=True)
class Attempt:
    """Lines that are tried together, and the seconds that they may take on a card."""

    what: str
    lines: Callable[[], Iterable[Line]]
    seconds: float = 0.0


def lines_of(check: Check, place: Place) -> Iterator[Line]:
    """All lines of a check, in this process; what fails is a line, and the next is tried."""
    attempts: Iterator[Attempt] = iter(())
    try:
        attempts = importlib.import_module(f"scripts.gpu_check.{MODULES[check]}").attempts(place)
    except Exception as error:
        yield failed(check, "its modules load", error, place)
    while True:
        try:
            attempt = next(attempts, None)
        except Exception as error:
            yield failed(check, "the rest of it", error, place)
            return
        if attempt is None:
            return
        if place.seconds_left < attempt.seconds:
            yield left_out(check, attempt.what, _OVER)
            continue
        try:
            yield from attempt.lines()
        except Exception as error:
            yield failed(check, attempt.what, error, place)
        _let_go()


def failed(check: Check, what: str, error: Exception, place: Place) -> Line:
    """The line of an error; its traceback goes to the log."""
    with place.logging():
        traceback.print_exception(error)
    return tried(check, what, "", [f"{type(error).__name__}: {one_line(str(error))}"])


def _let_go() -> None:
    """Of what the last attempt held on the card."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def lines_apart(check: Check, place: Place) -> Iterator[Line]:
    """The same by a process of its own: after an error of CUDA nothing else works in it.

    One that dies, or that is not done when the minutes are over, is a line, too.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(check, place, there))
    process.start()
    there.close()
    try:
        while here.poll(max(0.0, place.seconds_left)):
            yield here.recv()
        yield left_out(check, "the rest of it", _OVER)
    except EOFError:
        process.join(_PATIENCE)
        if process.exitcode:
            died = f"its process ended with exit code {process.exitcode}"
            yield tried(check, "the rest of it", "", [died])
    finally:
        _end(process)


def _work(check: Check, place: Place, there: Connection) -> None:
    """What the process does: everything that is printed goes to the log."""
    with place.config.log.open("a", encoding="utf-8") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
        quiet_libraries()
        for line in lines_of(check, place):
            there.send(line)
        sys.stdout.flush()


def _end(process: multiprocessing.process.BaseProcess) -> None:
    if process.is_alive():
        process.terminate()
        process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
