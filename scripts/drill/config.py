"""What a drill does and how often: its options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aligndiff.core.options import Options, option

Scenario = Literal[
    "launchers", "kills", "signals", "full_disk", "gone_disk", "rivals", "sample", "ray", "hostile"
]

SCENARIOS: dict[Scenario, str] = {
    "launchers": "the same bytes whoever does the work, and the same images for any batch size",
    "kills": "SIGKILL at random moments, then the same command again",
    "signals": "Ctrl-C and SIGTERM, then the same command again",
    "full_disk": "a disk that is full in the middle",
    "gone_disk": "a disk that may not be written to, a dataset folder that is moved away",
    "rivals": "two runs at once on one dataset",
    "sample": "one sample that cannot be done",
    "ray": "a node of a Ray cluster lost in the middle",
    "hostile": "inputs that must be refused at once",
}
MOST_KILLS = 10_000


@dataclass(frozen=True)
class DrillConfig(Options):
    """The options of the drill."""

    scenarios: tuple[Scenario, ...] = option(
        tuple(SCENARIOS), "; ".join(f"{name}: {what}" for name, what in SCENARIOS.items())
    )
    kills: int | None = option(
        None,
        "SIGKILLs of that scenario",
        1,
        MOST_KILLS,
        shown_default="50, or 4 of a quick drill",
    )
    seed: int = option(0, "decides the moments of the kills")
    quick: bool = option(False, "step 2 alone where a scenario has a choice, no Ray")
    output_dir: Path = option(
        Path("runs/drill"), "folder for drill.md, drill.json and the work files"
    )

    @property
    def kill_count(self) -> int:
        return self.kills or (4 if self.quick else 50)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that a scenario goes through; 4 is composing scenes."""
        return (2,) if self.quick else (1, 2, 3, 4)

    @property
    def work_dir(self) -> Path:
        """For datasets and logs; removed at the end of a drill in which all passed."""
        return self.output_dir / "drill_work"
