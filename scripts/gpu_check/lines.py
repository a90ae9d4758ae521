"""The columns of the check's table, and the lines of what was tried, measured or left out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scripts.gpu_check.config import Check
from scripts.reporting import Columns, Line, Target, closing, verdict

_DIGITS = 3
_LONGEST_PROBLEM = 200  # characters; gpu_check.json has all of it


def at_most(bound: float) -> Target:
    return Target(bound, "at most")


def at_least(bound: float) -> Target:
    return Target(bound, "at least")


def figure(
    check: Check,
    what: str,
    value: float,
    unit: str,
    target: Target | None = None,
    n: int = 1,
    outcome: str = "",
) -> Line:
    """A number, and what it should be if anything; NaN is never what it should be."""
    return Line(check, what, None if math.isnan(value) else value, unit, n, target, outcome=outcome)


def tried(check: Check, what: str, fine: str, problems: Sequence[str] = (), n: int = 1) -> Line:
    """What was tried: it passed without problems."""
    outcome = "; ".join(problem[:_LONGEST_PROBLEM] for problem in problems) or fine
    passed = not problems
    return Line(check, what, None, "", n, outcome=outcome, passed=passed, problems=tuple(problems))


def left_out(check: Check, what: str, reason: str) -> Line:
    return Line(check, what, None, "", 0, outcome=f"left out: {reason}")


def last_sentence(lines: Sequence[Line], minutes: float) -> str:
    """How many hold, how many were left out, and how long it took."""
    untried = sum(line.n == 0 for line in lines)
    return closing(lines, minutes, f"hold{f', {untried} left out' if untried else ''}")


def _result(line: Line) -> str:
    number = "" if line.value is None else f"{line.value:.{_DIGITS}g} {line.unit}".strip()
    words = line.outcome.replace("|", "/").replace("\n", " ")
    return "; ".join(filter(None, (number, words)))


COLUMNS: Columns = {
    "check": lambda line: line.group,
    "what": lambda line: line.what,
    "result": _result,
    "asked": lambda line: f"{line.target.kind} {line.target.bound:g}" if line.target else "",
    "holds": lambda line: verdict(line, "-" if line.n == 0 else ""),
    "n": lambda line: str(line.n),
}
