"""Step 2: images of every entry of the prompt bank, each with the heatmap of its category."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aligndiff.data.images import write_grey, write_image
from aligndiff.data.layout import EntryFolder, embedding_dir, embedding_file
from aligndiff.data.prompt_bank import EmbeddingEntry, Entry, PromptBank, placeholder_tokens
from aligndiff.data.records import EntryRecord
from aligndiff.data.sample_plan import (
    IMAGE_FORMATS,
    EntryPlan,
    Sample,
    discard_sample,
    new_record,
    split_counts,
)
from aligndiff.ground.console import progress, warn
from aligndiff.ground.errors import InputError
from aligndiff.ground.files import file_fingerprint, fingerprint
from aligndiff.models.weights import Chosen, embedding_vectors, model_identity

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from aligndiff.models.drawing import Drawing, DrawingSettings, EncodedPrompt


@dataclass(frozen=True)
class SynthesisConfig:
    """How many images to make, and how. All but the counts and the batch size decide the pixels."""

    image_per_class: int = field(
        default=100,
        metadata={
            "help": "images of each category, split evenly over its entries",
            "exclusive": "count",
        },
    )
    image_per_entry: int | None = field(
        default=None,
        metadata={"help": "images of each entry instead", "exclusive": "count"},
    )
    batch_size: int = field(
        default=4, metadata={"help": "images drawn at once; changes speed and memory only"}
    )
    num_inference_steps: int = field(
        default=50, metadata={"help": "denoising steps of the model's own scheduler"}
    )
    guidance_scale: float = field(
        default=7.5, metadata={"help": "how closely images follow the prompt; 1 or less is off"}
    )
    size: tuple[int, ...] = field(
        default=(),
        metadata={"help": "image size in pixels: side, or height and width (default: the model's)"},
    )
    seed: int = field(
        default=0, metadata={"help": "with entry and index it decides a sample's noise"}
    )
    image_format: Literal["jpg", "png"] = field(
        default="jpg", metadata={"help": "jpg is quality 95 without chroma subsampling"}
    )

    def __post_init__(self) -> None:
        per_entry = 1 if self.image_per_entry is None else self.image_per_entry
        checks = {
            f"--image_per_class must be 1 or more, not {self.image_per_class}": (
                self.image_per_class >= 1
            ),
            f"--image_per_entry must be 1 or more, not {per_entry}": per_entry >= 1,
            f"--batch_size must be 1 or more, not {self.batch_size}": self.batch_size >= 1,
            f"--num_inference_steps must be 1 or more, not {self.num_inference_steps}": (
                self.num_inference_steps >= 1
            ),
            f"--guidance_scale must be a number from 0 to 100, not {self.guidance_scale}": (
                0 <= self.guidance_scale <= 100
            ),
            "--size takes one number or two (height and width), multiples of 8 px": (
                len(self.size) <= 2 and all(side > 0 and side % 8 == 0 for side in self.size)
            ),
            f"--image_format must be one of {', '.join(IMAGE_FORMATS)}": (
                self.image_format in IMAGE_FORMATS
            ),
        }
        if problems := [text for text, good in checks.items() if not good]:
            raise InputError(problems)


@dataclass(frozen=True)
class SynthesisReport:
    """What a run did: how many samples it made, and those for which the model gave no numbers."""

    made: int
    failed: tuple[Sample, ...]


def plan_synthesis(
    bank: PromptBank, chosen: Chosen, config: SynthesisConfig, precision: str
) -> list[EntryPlan]:
    """What each entry of the bank is to be made of and with. Reads files, loads no model.

    Raises one InputError that names every embedding entry that has not been learned.
    """
    identity = model_identity(chosen)
    counts = split_counts(bank.entries, config.image_per_class, config.image_per_entry)
    plans: list[EntryPlan] = []
    problems: list[str] = []
    for entry in bank.entries:
        try:
            plans.append(_plan_entry(bank, entry, counts[entry.id], config, identity, precision))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return plans


def synthesize(
    pipe: StableDiffusionPipeline, samples: Sequence[Sample], config: SynthesisConfig
) -> SynthesisReport:
    """Draw and write all `samples`, in batches of one entry.

    A sample's files are its image, its heatmap and, last, its record; each appears whole. A sample
    for which the model gives not-a-number is left out, and the run goes on.
    """
    from aligndiff.models.drawing import DrawingSettings, drawing_size

    settings = DrawingSettings(
        config.num_inference_steps, config.guidance_scale, drawing_size(pipe, config.size)
    )
    failed: list[Sample] = []
    done: Counter[str] = Counter()
    with progress("drawing", len(samples)) as advance:
        for batch, drawings in _draw_all(pipe, samples, config.batch_size, settings):
            for sample, drawing in zip(batch, drawings, strict=True):
                if drawing is None:
                    failed.append(sample)
                    warn(_failure(sample))
                else:
                    _write(sample, drawing, config.image_format)
            done[batch[0].plan.entry.category] += len(batch)
            advance(len(batch), status=_class_counts(samples, done))
    return SynthesisReport(len(samples) - len(failed), tuple(failed))


def _plan_entry(
    bank: PromptBank,
    entry: Entry,
    count: int,
    config: SynthesisConfig,
    identity: str,
    precision: str,
) -> EntryPlan:
    settings: dict[str, Any] = {
        "diffusion_model": identity,
        "num_inference_steps": config.num_inference_steps,
        "guidance_scale": config.guidance_scale,
        "size": list(config.size),
        "seed": config.seed,
        "precision": precision,
        "image_format": config.image_format,
    }
    embedding, tokens = None, []
    if isinstance(entry, EmbeddingEntry):
        embedding = embedding_file(bank.root, entry)
        if not embedding.is_file():
            raise InputError(_not_learned(bank, entry))
        tokens = placeholder_tokens(embedding_vectors(embedding))
        settings["embedding"] = file_fingerprint(embedding)
    record = EntryRecord(
        entry_id=entry.id,
        type=entry.type,
        category=entry.category,
        prompt=entry.prompt(tokens),
        support_dir=entry.support_dir,
        model=identity,
        settings=settings,
        fingerprint=fingerprint([entry.id, settings]),
    )
    return EntryPlan(EntryFolder(bank.root, entry), record, count, embedding)


def _not_learned(bank: PromptBank, entry: EmbeddingEntry) -> str:
    """What to say of an entry without an embedding: learn it, or choose one of a sweep."""
    swept = sorted(path.name for path in embedding_dir(bank.root, entry).glob("bg_lambda_*"))
    first = f"{entry.id}: no learned embedding in {embedding_dir(bank.root, entry)}"
    if swept:
        return (
            f"{first}, but a sweep ({', '.join(swept)}): choose one of its values, "
            "python -m scripts.image_mask_inversion --bg_lambda VALUE"
        )
    return f"{first}: run python -m scripts.image_mask_inversion --dataset_dir {bank.root} first"


def _draw_all(
    pipe: StableDiffusionPipeline,
    samples: Sequence[Sample],
    batch_size: int,
    settings: DrawingSettings,
) -> Iterator[tuple[list[Sample], list[Drawing | None]]]:
    """Batches of one entry, drawn; each entry's prompt is encoded once."""
    from aligndiff.models.drawing import draw

    for plan, group in itertools.groupby(samples, key=lambda sample: sample.plan):
        prompt = _encode(pipe, plan)
        queue = list(group)
        for start in range(0, len(queue), batch_size):
            batch = queue[start : start + batch_size]
            yield batch, draw(pipe, prompt, [sample.seed for sample in batch], settings)


def _encode(pipe: StableDiffusionPipeline, plan: EntryPlan) -> EncodedPrompt:
    from aligndiff.models.diffusion import load_embedding
    from aligndiff.models.drawing import encode_entry

    rows = None if plan.embedding is None else load_embedding(plan.embedding)
    return encode_entry(pipe, plan.entry, rows)


def _write(sample: Sample, drawing: Drawing, image_format: str) -> None:
    place, index = sample.plan.place, sample.index
    # A mask of step 3 that may still lie there belongs to another image.
    discard_sample(place, index)
    write_image(place.image_path(index, image_format), drawing.image)
    write_grey(place.heatmap_path(index), drawing.heatmap)
    new_record(sample, image_format).write(place.record_path(index))


def _class_counts(samples: Sequence[Sample], done: Counter[str]) -> str:
    """ "fish 12/50, dog 3/50" over the classes begun so far."""
    totals = Counter(sample.plan.entry.category for sample in samples)
    return ", ".join(f"{name} {count}/{totals[name]}" for name, count in done.items())


def _failure(sample: Sample) -> str:
    return (
        f"failed: {sample.plan.entry.id} image {sample.index}: the model gave not-a-number, "
        "nothing written (try --precision float32)"
    )
