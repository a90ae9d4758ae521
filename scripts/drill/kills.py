"""SIGKILL at random moments; the same command again must end with what an undisturbed run makes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.drill.datasets import DrillDatasets, await_that, await_work
from scripts.drill.lines import line
from scripts.drill.moments import Kill, Kind, chains, choose_kills, kinds
from scripts.drill.processes import MOST_REFUSALS, Command, Ended, run_when_free
from scripts.drill.snapshots import broken_files
from scripts.reporting import Line

_TRIES = 5  # of a kill that comes too late


@dataclass
class Tally:
    """What became of the kills of one kind."""

    hits: int = 0
    refused: int = 0  # times that the next command met workers which were still ending
    problems: list[str] = field(default_factory=list)

    @property
    def fine(self) -> str:
        extra = f"; {self.refused} times refused while workers still ended" if self.refused else ""
        return f"no half file, the same bytes in the end{extra}"


def drill(datasets: DrillDatasets) -> Iterator[Line]:
    config = datasets.config
    kills = choose_kills(kinds(config.steps), config.kill_count, config.seed)
    for kind in dict.fromkeys(kill.kind for kill in kills):
        started, tally = time.monotonic(), Tally()
        of_kind = [kill for kill in kills if kill.kind == kind]
        for chain in chains(of_kind):
            kill_in_a_row(datasets, chain, tally)
        if tally.hits < len(of_kind):
            tally.problems.append(f"only {tally.hits} of {len(of_kind)} kills hit a running run")
        yield line("kills", str(kind), tally.hits, tally.fine, tally.problems, started)


def kill_in_a_row(datasets: DrillDatasets, chain: Sequence[Kill], tally: Tally) -> None:
    """Kills of a run and of those that continue it, then one that is left in peace."""
    kind = chain[0].kind
    dataset = datasets.fresh(kind.step, kind.overwrite)
    for kill in chain:
        for _ in range(_TRIES):
            hit, ended = _strike(datasets, kill, dataset, tally)
            tally.problems += broken_files(dataset)
            if hit:
                tally.hits += 1
                break
            # It was over before: then what it left must be right, and another one begins.
            tally.problems += ended.problems() + datasets.compare(kind.step, dataset)
            dataset, kill = datasets.fresh(kind.step, kind.overwrite), kill.sooner()
    _finish(datasets, kind, dataset, tally)


def _finish(datasets: DrillDatasets, kind: Kind, dataset: Path, tally: Tally) -> None:
    """The same command once more, to its end; as the scripts say, without --overwrite.

    A run that was to overwrite may have been killed before it began: then continuing is refused.
    """
    more = [word for word in kind.words if word != "--overwrite"]
    ended, refused = run_when_free(datasets.words(kind.step, dataset, *more))
    if kind.overwrite and ended.code == 2 and "--overwrite" in ended.said:
        ended, _ = run_when_free(datasets.words(kind.step, dataset, *kind.words))
    tally.refused += refused
    tally.problems += ended.problems() + datasets.compare(kind.step, dataset)


def _strike(datasets: DrillDatasets, kill: Kill, dataset: Path, tally: Tally) -> tuple[bool, Ended]:
    """Start the command and kill at the moment; whether it was in time, and how the run ended."""
    kind = kill.kind
    for _ in range(MOST_REFUSALS):
        hit, ended = _start_and_kill(datasets, kill, dataset)
        if not ended.was_refused:
            break
        tally.refused += 1  # workers of the last one were still ending
    if hit and kind.victim == "worker":  # its parent starts another one
        tally.problems += ended.problems()
        if "was killed by SIGKILL; started again" not in ended.said:
            tally.problems.append(f"the worker's end is not told: {ended.last_words}")
    return hit, ended


def _start_and_kill(datasets: DrillDatasets, kill: Kill, dataset: Path) -> tuple[bool, Ended]:
    kind = kill.kind
    length = datasets.length(kind.step, 1 if kind.victim == "alone" else 2)
    command, watch = datasets.begin(kind.step, dataset, *kind.words)
    with command:
        moment, at_work = kill.fraction * length.whole, True
        if kill.aimed:
            at_work = await_work(command, watch)
            moment = command.age + kill.fraction * (length.whole - length.first)
        in_time = at_work and await_that(command, lambda: command.age >= moment)
        return in_time and _kill(command, kill), command.wait()


def _kill(command: Command, kill: Kill) -> bool:
    """Whether there was something to kill."""
    if kill.kind.victim != "worker":
        os.kill(command.process.pid, signal.SIGKILL)
        return command.process.wait() == -signal.SIGKILL
    if not await_that(command, command.children):
        return False
    try:
        os.kill(random.Random(kill.fraction).choice(command.children()), signal.SIGKILL)
    except (IndexError, ProcessLookupError):  # it has just ended by itself
        return False
    return True
