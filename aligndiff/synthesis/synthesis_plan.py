"""What step 2 has to do: its options, and what each entry's samples are to be made of and with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint, fingerprint
from aligndiff.core.limits import MOST_DENOISING_STEPS, MOST_GUIDANCE, MOST_IN_A_BATCH
from aligndiff.dataset.entries import SCHEDULERS, SchedulerName
from aligndiff.dataset.layout import OUTDATED, EntryFolder, embedding_dir, embedding_file
from aligndiff.dataset.prompt_bank import EmbeddingEntry, Entry, PromptBank, placeholder_tokens
from aligndiff.dataset.records import EntryRecord
from aligndiff.diffusion.embeddings import embedding_vectors
from aligndiff.diffusion.weights import Chosen, model_identity
from aligndiff.synthesis.plan import IMAGE_FORMATS, EntryPlan, split_counts


@dataclass(frozen=True)
class SynthesisConfig:
    """How many images to make, and how.

    The counts, the batch size and compiling decide no pixels; all the rest does.
    """

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
    batch_size: int | None = field(
        default=None,
        metadata={
            "help": "images drawn at once; changes speed and memory only (default: what fits in "
            "the free memory, at most 16 on a GPU and 8 on a CPU)"
        },
    )
    num_inference_steps: int = field(default=50, metadata={"help": "denoising steps"})
    scheduler: SchedulerName = field(
        default="default",
        metadata={
            "help": "how to denoise: default is the model's own scheduler; dpm++ (DPM-Solver++ 2M) "
            "needs 20 to 25 steps"
        },
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
    compile: bool = field(
        default=False,
        metadata={
            "help": "compile the UNet first (torch.compile): for long runs on a GPU; it takes "
            "minutes to start, and gains nothing on a CPU"
        },
    )

    def __post_init__(self) -> None:
        per_entry = 1 if self.image_per_entry is None else self.image_per_entry
        batch_size = 1 if self.batch_size is None else self.batch_size
        limits = {
            "image_per_class": (self.image_per_class, 10**6),
            "image_per_entry": (per_entry, 10**6),
            "batch_size": (batch_size, MOST_IN_A_BATCH),
            "num_inference_steps": (self.num_inference_steps, MOST_DENOISING_STEPS),
        }
        guidance = self.guidance_scale
        checks = {
            f"--{name} must be from 1 to {most}, not {value}": 1 <= value <= most
            for name, (value, most) in limits.items()
        } | {
            f"--scheduler must be one of {', '.join(SCHEDULERS)}, not {self.scheduler}": (
                self.scheduler in SCHEDULERS
            ),
            f"--guidance_scale must be a number from 0 to {MOST_GUIDANCE}, not {guidance}": (
                0 <= guidance <= MOST_GUIDANCE
            ),
            "--size takes one number or two (height and width), multiples of 8 px up to 4096": (
                len(self.size) <= 2 and all(side in range(8, 4097, 8) for side in self.size)
            ),
            f"--image_format must be one of {', '.join(IMAGE_FORMATS)}": (
                self.image_format in IMAGE_FORMATS
            ),
        }
        if problems := [text for text, good in checks.items() if not good]:
            raise InputError(problems)


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
    if config.scheduler != "default":  # absent in data sets from before there was a choice
        settings["scheduler"] = config.scheduler
    embedding, tokens = None, []
    if isinstance(entry, EmbeddingEntry):
        embedding = embedding_file(bank.root, entry)
        if not embedding.is_file():
            raise InputError(_not_learned(bank, entry))
        if (outdated := embedding.with_name(OUTDATED)).exists():
            raise InputError(
                f"{embedding}: is to be learned again, and step 1 has not done it yet: repeat it, "
                f"or remove {outdated} to use the earlier one"
            )
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
