"""Composing scenes under the driver: like steps 2 and 3, and without a network."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from aligndiff.core.console import note, progress, say, table
from aligndiff.core.options import CommandLine
from aligndiff.core.ranks import is_first
from aligndiff.dataset.layout import sheet_path
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.runner import step as runner
from aligndiff.runner.options import CpuRunOptions, RunOptions
from aligndiff.runner.step import Step, run_step
from aligndiff.scenes.compose import compose_scenes
from aligndiff.scenes.config import MaterialOptions, SceneConfig
from aligndiff.scenes.plan import (
    PlannedScene,
    ScenePlan,
    blocks_of,
    check_settings,
    plan_scenes,
    prepare_folders,
)
from aligndiff.scenes.sheet import write_scene_sheet

UNIT = 16  # scenes that go to one process together


class Composition:
    """What to compose (`runner.step.Work`). A unit is a block of scenes of a category."""

    def __init__(
        self,
        run: RunOptions,
        config: SceneConfig,
        bank: PromptBank,
        plans: Sequence[ScenePlan],
        notes: Sequence[str],
    ) -> None:
        self.run, self.config, self.bank, self.plans = run, config, bank, plans
        self.notes = notes
        self.units = blocks_of(plans, UNIT)

    @property
    def outputs(self) -> list[Path]:
        sheet = [] if self.run.no_sheet else [sheet_path(self.run.dataset_dir, "4_scenes")]
        return [*(path for plan in self.plans for path in plan.place.outputs()), *sheet]

    @property
    def weights_line(self) -> str:
        """No weights: what there is to compose of."""
        counts = [
            f"{plan.category}: {len({item.name for item in plan.materials.pairs})} instances, "
            f"{len(plan.materials.backgrounds)} backgrounds, {len(plan.materials.others)} others"
            for plan in self.plans
        ]
        return "; ".join(counts)

    def weight(self, unit: Sequence[PlannedScene]) -> int:
        return len(unit)

    def category(self, unit: Sequence[PlannedScene]) -> str:
        return unit[0].plan.category

    def survey(
        self, numbers: Sequence[int], reported: Sequence[int]
    ) -> tuple[list[int], dict[str, int]]:
        """The message counts, by category, the scenes that are there already."""
        if is_first():
            note(self.notes)
        missing, skipped = list[int](), Counter[str]()
        for number in numbers:
            unit = self.units[number]
            made = 0 if self.run.overwrite else sum(scene.is_made for scene in unit)
            skipped[unit[0].plan.category] += made
            if made < len(unit):
                missing.append(number)
        return missing, dict(skipped)

    def make_room(self) -> None:
        self._prepare(self.units)

    def do(self, units: Sequence[Sequence[PlannedScene]]) -> None:
        self._prepare(units)
        missing = [scene for scene in itertools.chain(*units) if not scene.is_made]
        totals = Counter(scene.plan.category for scene in missing)
        with progress("composing", totals) as advance:
            compose_scenes(missing, self.config, advance)

    def finish(self, numbers: Sequence[int]) -> int:
        return 0

    def report(
        self, title: str, numbers: Sequence[int], messages: Sequence[Mapping[str, int]]
    ) -> int:
        """Print what was composed, and write the contact sheet."""
        scenes = [scene for number in numbers for scene in self.units[number]]
        failed = [scene for scene in scenes if not scene.is_made]
        skipped = Counter[str]()
        for message in messages:
            skipped.update(message)
        total, lost = (Counter(s.plan.category for s in group) for group in (scenes, failed))
        rows = [
            (name, total[name] - skipped[name] - lost[name], skipped[name], lost[name], str(folder))
            for name, folder in ((plan.category, plan.place.folder) for plan in self.plans)
        ]
        table(title, ("class", "composed", "skipped", "failed", "folder"), rows)
        if not self.run.no_sheet and is_first():
            say(f"contact sheet: {write_scene_sheet(self.bank, self.plans)}")
        return min(len(failed), 1)

    def _prepare(self, units: Sequence[Sequence[PlannedScene]]) -> None:
        scenes = [*itertools.chain(*units)]
        prepare_folders(self.plans, scenes, self.run.overwrite, is_first())


def _plan(line: CommandLine, run: RunOptions, bank: PromptBank) -> Composition:
    config = line.config(SceneConfig)
    plans, notes = plan_scenes(bank, line.config(MaterialOptions), config)
    if not run.overwrite:
        check_settings(plans)
    return Composition(run, config, bank, plans, notes)


STEP = Step(
    name="compose_scenes",
    module=__name__,
    description="Scenes: paste instances of each category, from samples of step 3 and real pairs, "
    "into other photos, with other things over, behind and beside them.",
    epilog="Running it again resumes: scenes that are there are skipped. --workers uses several "
    "cores. docs/SCENES.md",
    options={"materials": MaterialOptions, "scenes": SceneConfig},
    activity="composing",
    product="scenes",
    plan=_plan,
    run_options=CpuRunOptions,
)


def main(argv: Sequence[str], prog: str | None = None) -> int:
    """Composing scenes as a command; returns the exit code."""
    return run_step(STEP, argv, prog)


def open_work(argv: Sequence[str]) -> runner.Work:
    """The work of a command line, for an actor of a cluster."""
    return runner.open_work(STEP, argv)
