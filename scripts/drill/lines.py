"""The columns of the drill's table: what was done, how often, what came out."""

from __future__ import annotations

import time
from collections.abc import Sequence

from scripts.drill.config import Scenario
from scripts.reporting import Columns, Line, closing, verdict

_MOST_PROBLEMS = 3  # told in the table; drill.json has all of them, whole
_LONGEST_PROBLEM = 150  # characters of each


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
    seconds = round(time.monotonic() - started, 1)
    return Line(
        scenario,
        what,
        seconds,
        "s",
        times,
        outcome=told or fine,
        passed=not problems,
        problems=tuple(problems),
    )


def skipped(scenario: Scenario, what: str, reason: str) -> Line:
    return Line(scenario, what, 0.0, "s", 0, outcome=f"skipped: {reason}")


def last_sentence(lines: Sequence[Line], minutes: float) -> str:
    """How many passed, and how long it took."""
    untried = sum(line.passed is None for line in lines)
    return closing(lines, minutes, f"passed{f', {untried} could not be tried' if untried else ''}")


COLUMNS: Columns = {
    "scenario": lambda line: line.group,
    "what": lambda line: line.what,
    "times": lambda line: str(line.n),
    "what came out": lambda line: line.outcome.replace("|", "/").replace("\n", " "),
    "passed": lambda line: verdict(line, "-"),
    "seconds": lambda line: f"{line.value:.1f}",
}
