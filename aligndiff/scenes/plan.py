"""Which scenes are to be composed, of what, with which seeds; what is there already.

A scene is its category and its index: seed and file names come from these (and the user's seed)
alone, never from rank, world size or the order of work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import fingerprint
from aligndiff.core.ranks import is_worker
from aligndiff.dataset.layout import BACKGROUNDS, SceneFolder
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.dataset.records import SceneRecord, SceneSetRecord, describe_changes
from aligndiff.dataset.samples import StoredSample, excluded_samples, sample_seed, stored_samples
from aligndiff.dataset.scenes import discard_scene
from aligndiff.scenes.backgrounds import check_photos, read_backgrounds
from aligndiff.scenes.config import MaterialOptions, SceneConfig
from aligndiff.scenes.gather import gather
from aligndiff.scenes.materials import Materials

_SIDE = 512  # px, where there are no samples to tell
_OTHERS = "backgrounds with masks, or another category, bring other things"
_VERSION = 1  # of how scenes are composed; other ones would have other bytes


@dataclass(frozen=True)
class ScenePlan:
    """A category's scenes 0 .. count - 1, to be composed as `record` says."""

    place: SceneFolder
    record: SceneSetRecord
    count: int
    size: tuple[int, int]
    materials: Materials

    @property
    def category(self) -> str:
        return self.place.category

    def scene(self, index: int) -> PlannedScene:
        """The scene of this number, with its seed."""
        seed = sample_seed(self.record.settings["seed"], self.place.folder.name, index)
        return PlannedScene(self, index, seed)


@dataclass(frozen=True)
class PlannedScene:
    """One scene to compose: number `index` of a category, from its own `seed`."""

    plan: ScenePlan
    index: int
    seed: int

    @property
    def is_made(self) -> bool:
        """Whether its files are there and its record says it was composed as it is planned now."""
        place = self.plan.place
        record = SceneRecord.read_or_none(place.record_path(self.index))
        return (
            record is not None
            and record.fingerprint == self.plan.record.fingerprint
            and place.image_path(self.index, record.image_format).is_file()
            and place.mask_path(self.index).is_file()
        )


def plan_scenes(
    bank: PromptBank, options: MaterialOptions, config: SceneConfig
) -> tuple[list[ScenePlan], list[str]]:
    """What each category's scenes are to be made of and with, and notes. Composes nothing.

    Raises one InputError with every category that has no instances, and for backgrounds that are
    missing, unreadable or too small.
    """
    whole = load_prompt_bank(bank.root)  # other categories' pairs are other things
    excluded = excluded_samples(options.exclude, [bank.root])
    samples = [
        sample
        for sample in stored_samples(bank)
        if sample.record.status == "refined" and sample.record.mask_source in options.sources
        if sample.name not in excluded
    ]
    size = _size(config, samples)
    # Of a large photo that is read reduced, a part is seen.
    side = math.ceil(max(size) / config.recipe.view.low)
    backgrounds = read_backgrounds(_folders(bank.root, options), side)
    if not is_worker():  # its parent has looked
        check_photos(backgrounds, size)
    plans, problems, notes = list[ScenePlan](), list[str](), list[str]()
    for category in bank.categories:
        mine = [sample for sample in samples if sample.category == category]
        try:
            materials = gather(whole, category, mine, backgrounds, options, max(size))
        except InputError as error:
            problems += error.problems
            continue
        if left := len(backgrounds) - len(materials.backgrounds):
            notes.append(f"{category}: {left} backgrounds show one, left out")
        if not materials.others:
            notes.append(f"{category}: nothing else to paste, over or beside it; {_OTHERS}")
        plans.append(_plan(bank.root, category, materials, config, size))
    if problems:
        raise InputError(problems)
    return plans, notes


def check_settings(plans: Iterable[ScenePlan]) -> None:
    """Raise InputError naming every category that has scenes composed with other settings."""
    problems = []
    for plan in plans:
        old = SceneSetRecord.read_or_none(plan.place.scenes_json)
        if old is None or old.fingerprint == plan.record.fingerprint or not plan.place.indices():
            continue
        problems.append(
            f"{plan.place.folder}: its scenes were composed with other settings "
            f"({describe_changes(old.settings, plan.record.settings)}); give these again, or "
            "--overwrite to replace the scenes"
        )
    if problems:
        raise InputError(problems)


def prepare_folders(
    plans: Sequence[ScenePlan], mine: Sequence[PlannedScene], overwrite: bool, whole: bool
) -> None:
    """Write every category's record; with `overwrite` first remove the scenes of `mine` on disk.

    With `whole`, the process speaks for the whole run, and removes what lies beyond the asked count
    too. Several processes may do this at once. The record comes before scenes go: it tells the next
    run, should this one be stopped, which ones are outdated.
    """
    for plan in plans:
        if overwrite and whole:
            for index in {*plan.place.indices(), *plan.place.failed_indices()}:
                if index >= plan.count:
                    discard_scene(plan.place, index)
        if not _is_recorded(plan):
            plan.place.make()
            plan.record.write(plan.place.scenes_json)
    for scene in mine if overwrite else ():
        discard_scene(scene.plan.place, scene.index)


def blocks_of(plans: Sequence[ScenePlan], size: int) -> list[list[PlannedScene]]:
    """All scenes of all plans, category by category, in blocks of up to `size`."""
    return [
        [plan.scene(index) for index in range(start, min(start + size, plan.count))]
        for plan in plans
        for start in range(0, plan.count, size)
    ]


def _is_recorded(plan: ScenePlan) -> bool:
    try:
        return SceneSetRecord.read_or_none(plan.place.scenes_json) == plan.record
    except InputError:  # a broken record is written anew
        return False


def _folders(root: Path, options: MaterialOptions) -> Sequence[Path]:
    drawn = root / BACKGROUNDS
    if options.backgrounds or drawn.is_dir():
        return options.backgrounds or (drawn,)
    raise InputError(
        "no backgrounds: give --backgrounds with a folder of photos without the object, or have "
        f"the diffusion model draw some: python -m scripts.draw_backgrounds --dataset_dir {root}"
    )


def _size(config: SceneConfig, samples: Sequence[StoredSample]) -> tuple[int, int]:
    """(h, w) of the scenes."""
    if config.side:
        return config.side[0], config.side[-1]
    if not samples:
        return _SIDE, _SIDE
    height, width, _ = samples[0].read_image().shape
    return height, width


def _plan(
    root: Path, category: str, materials: Materials, config: SceneConfig, size: tuple[int, int]
) -> ScenePlan:
    settings = {
        **{
            name: f"{len(lines)} ({fingerprint(lines)})"
            for name, lines in materials.identities().items()
        },
        "recipe": fingerprint(asdict(config.recipe)),
        "several": config.several,
        "negatives": config.negatives,
        "side": list(size),
        "seed": config.seed,
        "image_format": config.image_format,
        "version": _VERSION,
    }
    record = SceneSetRecord(category, settings, fingerprint([category, settings]))
    return ScenePlan(SceneFolder(root, category), record, config.count, size, materials)
