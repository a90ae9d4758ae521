"""The lines of the drill's table: what was done, how often, what came out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.drill.config import Scenario

COLUMNS = ("scenario", "what", "times", "what came out", "passed", "seconds")
_MOST_PROBLEMS = 3  # told in the table; drill.json has all of them, whole
_LONGEST_PROBLEM = 150  # characters of each


@dataclass(frozen=True)
class Line:
    """One line of the table. `passed` is None for what could not be tried here."""

    scenario: Scenario
    what: str
    times: int
    outcome: str
    passed: bool | None
    seconds: float
    problems: tuple[str, ...] = ()


def line(
    scenario: Scenario,
    what: str,
    times: int,
    fine: str,
    problems: Sequence[str],
    started: float,
) -> Line:
    """The line of what was begun at `started` (time.monotonic); it passed without problems."""
    more = len(problems) - _MOST_PROBLEMS
    told = "; ".join(problem[:_LONGEST_PROBLEM] for problem in problems[:_MOST_PROBLEMS]) + (
        f"; and {more} more" if more > 0 else ""
    )
    seconds = time.monotonic() - started
    return Line(
        scenario, what, times, told or fine, not problems, round(seconds, 1), tuple(problems)
    )


def skipped(scenario: Scenario, what: str, reason: str) -> Line:
    return Line(scenario, what, 0, f"skipped: {reason}", None, 0.0)


def cells(line: Line) -> tuple[str, ...]:
    """The line in words, one for each of COLUMNS."""
    passed = {None: "-", True: "yes", False: "NO"}[line.passed]
    outcome = line.outcome.replace("|", "/").replace("\n", " ")
    return (line.scenario, line.what, str(line.times), outcome, passed, f"{line.seconds:.1f}")
