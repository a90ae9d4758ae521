"""The contact sheet of the scenes: a few of each category with their masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.dataset.layout import sheet_path
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.records import SceneRecord
from aligndiff.dataset.scenes import read_scene
from aligndiff.dataset.support import SUPPORT_SIDE, load_support
from aligndiff.render.sheet import Mark, SheetRow, SheetSample, step_sheet, write_sheet
from aligndiff.scenes.plan import ScenePlan

SCENES_SHOWN = 12  # of each category, three beside each other


def write_scene_sheet(bank: PromptBank, plans: Sequence[ScenePlan]) -> Path:
    """Draw what lies on disk of the planned categories; returns the sheet's path."""
    rows = []
    for plan in plans:
        entry = next(entry for entry in bank.entries if entry.category == plan.category)
        support = load_support(bank.root / entry.support_dir, entry.mask_class, SUPPORT_SIDE)
        shown = [scene for scene, _ in zip(_readable(plan), range(SCENES_SHOWN), strict=False)]
        subtitle = f"scenes of {len(plan.materials.backgrounds)} backgrounds"
        rows.append(SheetRow(plan.category, support, shown, subtitle))
    path = sheet_path(bank.root, "4_scenes")
    write_sheet(path, step_sheet("Scenes", rows))
    return path


def _readable(plan: ScenePlan) -> Iterator[SheetSample]:
    """The scenes that can be shown; another process may be replacing the others."""
    for index in plan.place.indices():
        try:
            scene = read_scene(plan.place, index)
            image, mask = scene.read_image(), scene.read_mask()
        except InputError:
            continue
        note, mark = _note(scene.record)
        yield SheetSample(image, mask=mask, note=note, mark=mark)


def _note(record: SceneRecord) -> tuple[str, Mark | None]:
    """What is in a scene, in words."""
    count = Counter(part.role for part in record.parts)
    on_pair = record.parts[0].source in ("pair", "sample")
    words = [f"on a {record.parts[0].source}"] if on_pair else []
    words += [f"{count['object']} pasted"] if count["object"] else []
    words += ["another thing"] if count["other"] else []
    if record.area == 0:
        return ", ".join(["negative", *words]), "guess"
    return ", ".join(words), "good"
