"""Which kills are tried: of which step and process, at which moments, in which chains."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Victim = Literal["alone", "parent", "worker"]
VICTIMS: tuple[Victim, ...] = ("alone", "parent", "worker")
_LONGEST_CHAIN = 3


@dataclass(frozen=True)
class Kind:
    """Kills that share a line of the table.

    `victim` is the only process, or one of a run of two workers.
    """

    step: int
    victim: Victim
    overwrite: bool = False

    @property
    def words(self) -> list[str]:
        """What the command has beside its usual options."""
        workers = [] if self.victim == "alone" else ["--workers", "2"]
        return [*workers, "--overwrite"] if self.overwrite else workers

    def __str__(self) -> str:
        victim = {"alone": "one process", "parent": "the parent of 2", "worker": "one of 2 workers"}
        extra = ", --overwrite" if self.overwrite else ""
        return f"step {self.step}{extra}: SIGKILL of {victim[self.victim]}"


@dataclass(frozen=True)
class Kill:
    """One SIGKILL: at a `fraction` in (0, 1) of a run, or of what follows its first result."""

    kind: Kind
    aimed: bool
    fraction: float

    def sooner(self) -> Kill:
        """For another try, after the run was over before the moment came."""
        return replace(self, fraction=self.fraction * 0.7)


def kinds(steps: Sequence[int]) -> list[Kind]:
    """Every kind of kill in the steps; --overwrite of what other settings have made."""
    found = [Kind(step, victim) for victim in VICTIMS for step in steps]
    return found + [Kind(step, "alone", overwrite=True) for step in steps]


def choose_kills(kinds: Sequence[Kind], count: int, seed: int) -> list[Kill]:
    """`count` kills, the kinds in turn, every second one of a kind aimed at the work itself."""
    rng = random.Random(seed)
    return [
        Kill(kind, number // len(kinds) % 2 == 0, rng.random())
        for number, kind in zip(range(count), itertools.cycle(kinds), strict=False)
    ]


def chains(kills: Sequence[Kill]) -> Iterator[list[Kill]]:
    """Kills that follow each other on one dataset: each hits the run that continues the last.

    A run whose worker was killed goes on to its end, and one that overwrites begins anew: these
    stand alone.
    """
    if not kills:
        return
    kind = kills[0].kind
    length = 1 if kind.overwrite or kind.victim == "worker" else _LONGEST_CHAIN
    for begin in range(0, len(kills), length):
        yield list(kills[begin : begin + length])
