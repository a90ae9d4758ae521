"""Which weights a run uses, and where that choice came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TINY = "tiny"
WEIGHTS_DIR = Path(__file__).resolve().parents[2] / "pretrained_weights"


@dataclass(frozen=True)
class ModelChoice:
    """The weights of a run: `name` as the user knows it, `location` as a loader takes it."""

    name: str
    location: str | Path  # a Path is on this machine, a str is a hub name
    source: str  # "command line", "dataset.json" or "built-in default"

    def __str__(self) -> str:
        return f"{self.name} ({self.source})"


def first_named(flag: str | None, default: str | None) -> tuple[str | None, str]:
    return (flag, "command line") if flag is not None else (default, "dataset.json")
