"""The records that flow between the steps: one per entry, one per sample, one per failure."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import TypeAdapter, ValidationError

from aligndiff.core.errors import InputError
from aligndiff.core.files import fingerprint, read_json, write_json
from aligndiff.dataset.layout import ADAPTATIONS, INVERSION_RECORD

Status = Literal["synthesized", "refined", "rejected"]
MaskSource = Literal["consensus", "pseudo_label"]

IMAGE_FORMATS = ("jpg", "png")


class _Record:
    """Reading and writing shared by the records; a file with other keys is not one of ours."""

    def to_json(self) -> dict[str, Any]:
        fields_of: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return fields_of

    @classmethod
    def from_json(cls, obj: object, source: str = "record") -> Self:
        """Build from a JSON object; InputError naming `source` when it is none of this kind."""
        known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
        if not isinstance(obj, dict):
            raise InputError(f"{source}: is no JSON object; {_AGAIN}")
        required = {name for name, item in known.items() if item.default is MISSING}
        missing, unknown = sorted(required - obj.keys()), sorted(obj.keys() - known.keys())
        if missing or unknown:
            wrong = [f"no {name}" for name in missing] + [f"unknown {name}" for name in unknown]
            raise InputError(
                f"{source}: not a record of this version ({', '.join(wrong)}); {_AGAIN}"
            )
        try:
            record: Self = _checker(cast(Hashable, cls)).validate_python(obj)
            return record
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            reason = [*map(str, first["loc"][:1]), first["msg"].removeprefix("Value error, ")]
            raise InputError(f"{source}: {': '.join(reason)}; {_AGAIN}") from None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a record; InputError when it is missing, broken or of another version."""
        return cls.from_json(read_json(path), str(path))

    @classmethod
    def read_or_none(cls, path: str | Path) -> Self | None:
        """Read a record, or None when there is no such file."""
        return cls.read(path) if Path(path).exists() else None

    def write(self, path: str | Path) -> None:
        """Write the record whole."""
        write_json(path, self.to_json())


@functools.cache  # there may be a million records
def _checker(kind: Any) -> TypeAdapter[Any]:
    """Checks the types of a record's keys and builds it."""
    return TypeAdapter(kind)


_AGAIN = "remove the file or run the step again with --overwrite"


@dataclass(frozen=True)
class EntryRecord(_Record):
    """What the samples of an entry were made with: `entry.json`."""

    entry_id: str
    type: str
    category: str
    prompt: str
    support_dir: str
    model: str
    settings: dict[str, Any]
    fingerprint: str  # of the settings; samples carry it too


@dataclass(frozen=True)
class SampleRecord(_Record):
    """What is known of one sample: `samples/image_<index>.json`.

    Attributes:
        index: the sample's number within its entry.
        seed: of its generator.
        status: "synthesized" by step 2, then "refined" or "rejected" by step 3.
        image_format: "jpg" or "png".
        fingerprint: the entry's when the sample was made.
        mask_source: "consensus" when segmenter and heatmap agreed, "pseudo_label" for a guess.
        iou: of the segmenter's first mask with the heatmap, in [0, 1].
        rejected_because: the reason of a sample without a mask.
        refinement: fingerprint of the refinement that set the fields beside it.
        score: how sure the mask is, in [0, 1]; None of a sample without a mask, and of records
            from before there were scores.
        ailments: what looks odd about the mask, see `aligndiff.masks.health`.
        likeness: of the object to the support's, in [0, 1], see `aligndiff.masks.likeness`; None
            where no object was found, and of records from before there was likeness.
    """

    index: int
    seed: int
    status: Status
    image_format: str
    fingerprint: str
    mask_source: MaskSource | None = None
    iou: float | None = None
    rejected_because: str | None = None
    refinement: str | None = field(default=None)
    score: float | None = None
    ailments: tuple[str, ...] = ()
    likeness: float | None = None

    def __post_init__(self) -> None:
        if self.image_format not in IMAGE_FORMATS:  # it becomes a part of a path
            raise ValueError(f"image_format {self.image_format!r} is unknown")


@dataclass(frozen=True)
class SceneSetRecord(_Record):
    """What the scenes of a category are composed with: `scenes.json`."""

    category: str
    settings: dict[str, Any]
    fingerprint: str  # of the category and the settings; scenes carry it too


@dataclass(frozen=True)
class PastedRecord:
    """What went into a scene, and how.

    Attributes:
        role: "ground", "object", or "other" for what is not the object.
        source: "sample" or "pair" (of the category), "background", "thing" (of a background),
            "other pair" (of another category).
        name: of the sample, of a pair its folder and stem, of a background its file.
        scale, row, column, flip, behind, colour_fit: as in `composition/placement.py`; None of the
            ground.
    """

    role: Literal["ground", "object", "other"]
    source: str
    name: str
    scale: float | None = None
    row: float | None = None
    column: float | None = None
    flip: bool | None = None
    behind: bool | None = None
    colour_fit: float | None = None


@dataclass(frozen=True)
class SceneRecord(_Record):
    """What is known of one scene: `samples/image_<index>.json` below `scenes/`.

    Attributes:
        index: the scene's number within its category.
        seed: of its generator.
        image_format: "jpg" or "png".
        fingerprint: that of `scenes.json` when the scene was composed.
        area: the part of the image that is object, in [0, 1]; 0 of a negative.
        parts: what it is made of, in the order of pasting, the ground first.
    """

    index: int
    seed: int
    image_format: str
    fingerprint: str
    area: float
    parts: tuple[PastedRecord, ...]

    def __post_init__(self) -> None:
        if self.image_format not in IMAGE_FORMATS:  # it becomes a part of a path
            raise ValueError(f"image_format {self.image_format!r} is unknown")


@dataclass(frozen=True)
class FailureRecord(_Record):
    """Why something could not be made: `failures/image_<index>.json`, `failure.json`.

    It marks nothing: what failed is tried again by the next run, and the record goes when it
    succeeds.

    Attributes:
        step: 1 for an embedding, 2 or 3 for a sample, 4 for a scene.
        reason: in words, one line.
        index: the sample's number within its entry; None for an embedding.
    """

    step: Literal[1, 2, 3, 4]
    reason: str
    index: int | None = None


def is_made(path: str | Path, fingerprint: str) -> bool:
    """Whether step 2 is done with the sample whose record is `path`, with these settings."""
    record = SampleRecord.read_or_none(path)
    return record is not None and record.fingerprint == fingerprint


def describe_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs between settings, in words: "guidance_scale was 7.5, now 5"."""
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    words = {key: (_in_words(old.get(key)), _in_words(new.get(key))) for key in changed}
    phrases = {key: f"{key} was {before}, now {now}" for key, (before, now) in words.items()}
    if "support" in phrases:
        phrases["support"] = "the support pairs changed"  # their hashes would tell nothing
    if "templates" in phrases:
        phrases["templates"] = "the templates changed"
    return ", ".join(phrases.values())


def _in_words(setting: Any) -> str:
    """As it is typed: "flip scale" of a list."""
    if setting is None or setting in ((), []):
        return "not set"
    return " ".join(map(str, setting)) if isinstance(setting, list | tuple) else str(setting)


@dataclass(frozen=True)
class InversionRecord:
    """What made an embedding: all that decides its rows, what it ran on, the loss of each step.

    probe: steps taken, and the loss of fixed views and noise then; empty in earlier records.
    """

    settings: dict[str, Any]
    ran_on: str
    loss: tuple[float, ...]
    probe: tuple[tuple[int, float], ...] = ()

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the settings: equal for equal embeddings."""
        return fingerprint(self.settings)

    @property
    def adaptation(self) -> str | None:
        """The file beside the embedding with what was tuned of the denoiser, None for nothing."""
        return ADAPTATIONS.get(self.settings.get("adapt", ""))

    def write(self, folder: Path) -> None:
        """Write `inversion.json` into `folder`."""
        record = {"settings": self.settings, "fingerprint": self.fingerprint, "ran_on": self.ran_on}
        curves = {"loss": list(self.loss), "probe": list(self.probe)}
        write_json(folder / INVERSION_RECORD, {**record, **curves})


def read_record(folder: Path) -> InversionRecord | None:
    """The record in `folder`, None when there is none. Raises InputError when it is broken."""
    path = folder / INVERSION_RECORD
    if not path.exists():
        return None
    record = read_json(path)
    try:
        loss = tuple(map(float, record["loss"]))
        probe = tuple((int(step), float(value)) for step, value in record.get("probe", ()))
        return InversionRecord(dict(record["settings"]), str(record["ran_on"]), loss, probe)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{path}: is no inversion record") from None
