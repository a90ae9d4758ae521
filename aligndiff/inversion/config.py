"""The options of step 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from aligndiff.core.options import (
    MAX_BATCH,
    MAX_DENOISING_STEPS,
    MAX_GUIDANCE,
    MAX_VECTORS,
    Options,
    is_interval,
    option,
)
from aligndiff.dataset.entries import SchedulerName

# AdamW's, the method's own; radians on the sphere, that of Directional textual inversion.
INVERSION_LR = {"method": 5e-4, "direction": 0.01}
Augmentation = Literal["none", "flip", "crop", "scale", "colour"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
PROBE_EVERY = 10  # steps; an evaluation takes about a third of a step
# Options that records of their default do not name.
# The method's recipe, where later options can differ: what a record that names none was learned by.
METHOD: Mapping[str, Any] = {
    "timestep_range": (),
    "augment": ("flip",),
    "inversion": "method",
    "attention_loss": 0.0,
    "patience": None,
}
USUAL = 0.6  # bg_lambda of the official code
SWEEP = (0.1, 0.3, 0.6, 1.0)  # what --bg_lambda auto learns
# The rates that reach the look in 300 steps on the tiny world (docs/ADAPT.md).
ADAPT_LR = {"lora": 1e-3, "full": 2e-4}


@dataclass(frozen=True)
class InversionConfig(Options):
    """The recipe of one run. Everything but `gradient_checkpointing` decides the result."""

    bg_lambda: tuple[float | None, ...] = option(
        (USUAL,),
        "weight of the background loss; several values: a sweep; auto: chosen among "
        + " ".join(f"{value:g}" for value in SWEEP),
        0,
        1000,
        word="auto",
    )
    inversion_steps: int = option(500, "optimizer steps of one embedding", 1, 10**6)
    inversion_lr: float | None = option(
        None,
        "initial learning rate; it decays to 0 along a cosine",
        high=10,
        above=0,
        shown_default=" and ".join(f"{rate:g} for {kind}" for kind, rate in INVERSION_LR.items()),
    )
    inversion_train_bs: int = option(4, "support views in one pass of the UNet", 1, MAX_BATCH)
    gradient_accumulation: int = option(2, "passes of one optimizer step", 1, MAX_BATCH)
    vectors: int = option(
        1, "embedding vectors of one object; each takes a token of the prompt", 1, MAX_VECTORS
    )
    initializer: tuple[str, ...] = option(
        ("good",),
        "word that the vectors start from, one token of the model; or as many words as --vectors",
        metavar="WORD",
    )
    timestep_range: tuple[float, ...] = option(
        (),
        "lowest and highest noise level that is trained on",
        0,
        1000,
        shown_default="all levels",
    )
    side: int | None = option(
        None,
        "side of the training images",
        64,
        4096,
        multiple_of=8,
        unit="px",
        shown_default="the model's own",
    )
    squeeze: bool = option(
        False, "squeeze photos that are not square, instead of a square cut around the object"
    )
    seed: int = option(0, "random seed of flips, noise levels and noise")
    gradient_checkpointing: bool = option(
        False, "save most of the UNet's memory for a third more time"
    )
    templates: str = option(
        "photo",
        "prompts to train under: photo, the method's one; object, 23 of its kind; or a text file "
        "with one a line, {} where the object goes",
        metavar="NAME|FILE",
    )
    augment: tuple[Augmentation, ...] = option(
        ("flip", "scale"),
        "what may be done to a support pair, image and mask together; flip alone is the method's",
    )
    inversion: Literal["method", "direction"] = option(
        "method",
        "how the vectors learn: as in the paper; or their direction alone, at the mean length of "
        "the vocabulary's",
    )
    attention_loss: float = option(
        0.0,
        "weight of drawing the heatmap to the object's mask while learning; 0: not at all",
        0,
        1000,
    )
    patience: int | None = option(
        None,
        f"stop when the loss on fixed views and noise, taken every {PROBE_EVERY} steps, has not "
        "fallen so many times",
        1,
        1000,
        shown_default="never",
    )

    def contradictions(self) -> list[str]:
        problems = []
        if not self.bg_lambda:
            problems.append("--bg_lambda: needs one value or more")
        if None in self.bg_lambda and len(self.bg_lambda) > 1:
            problems.append("--bg_lambda: auto stands alone; --choose chooses among values")
        if len({f"{value:g}" for value in self.bg_lambdas}) < len(self.bg_lambdas):
            problems.append("--bg_lambda: the same value is there twice (to six digits)")
        if len(self.initializer) not in (1, self.vectors) or not all(
            map(str.strip, self.initializer)
        ):
            problems.append(
                f"--initializer: takes one word, or {self.vectors}, one for each vector"
            )
        if "none" in self.augment and len(self.augment) > 1:
            problems.append("--augment: none stands alone")
        if self.attention_loss and self.gradient_checkpointing:
            problems.append("--attention_loss: not with --gradient_checkpointing")
        if self.timestep_range and not is_interval(self.timestep_range):
            problems.append("--timestep_range: takes two numbers, the lower one first")
        return problems

    @property
    def rate(self) -> float:
        """The initial learning rate."""
        return INVERSION_LR[self.inversion] if self.inversion_lr is None else self.inversion_lr

    @property
    def bg_lambdas(self) -> list[float]:
        """The values that are learned; those of the sweep where none is given."""
        return [value for value in self.bg_lambda if value is not None] or [*SWEEP]

    def recipe(self, model: str, precision: str) -> dict[str, Any]:
        """What decides the vectors besides object, `bg_lambda`, `squeeze` and the templates."""
        settings = {**asdict(self), "diffusion_model": model, "precision": precision}
        for name in ("bg_lambda", "squeeze", "gradient_checkpointing", "templates"):
            del settings[name]
        settings["resolution"] = settings.pop("side")  # the record's name for it
        settings["inversion_lr"] = self.rate
        words = self.initializer
        settings["initializer"] = words[0] if len(set(words)) == 1 else list(words)
        settings["augment"] = tuple(kind for kind in AUGMENTATIONS if kind in self.augment)
        for name, usual in METHOD.items():
            if (value := settings.pop(name)) != usual:
                settings[name] = list(value) if isinstance(value, tuple) else value
        return settings


@dataclass(frozen=True)
class AdaptConfig(Options):
    """What learns besides the vectors."""

    adapt: Literal["embedding", "lora", "full"] = option(
        "embedding",
        "what learns: the embedding alone, as in the paper; or with it the denoiser, by LoRA or in "
        "all its weights",
    )
    adapt_steps: int = option(
        300, "with lora and full: optimizer steps, in place of --inversion_steps", 1, 10**6
    )
    adapt_lr: float | None = option(
        None,
        "initial learning rate of the denoiser",
        high=10,
        above=0,
        shown_default=" and ".join(f"{rate:g} for {kind}" for kind, rate in ADAPT_LR.items()),
    )
    lora_rank: int = option(16, "rank of the LoRA layers", 1, 1024)
    prior_weight: float = option(
        0.0, "weight of generated images of the plain word, which keep what it means", 0, 1000
    )

    @property
    def tunes(self) -> bool:
        """Whether the denoiser learns too."""
        return self.adapt != "embedding"

    @property
    def draws(self) -> bool:
        """Whether images of the plain word are generated."""
        return self.tunes and self.prior_weight > 0

    @property
    def rate(self) -> float:
        """The denoiser's initial learning rate."""
        return ADAPT_LR[self.adapt] if self.adapt_lr is None else self.adapt_lr

    def recipe(self, sheet: SheetConfig) -> dict[str, Any]:
        """What decides the weights, for the record; nothing where only the embedding learns."""
        if not self.tunes:
            return {}
        settings = {**asdict(self), "adapt_lr": self.rate}
        del settings["adapt_steps"]  # it is there as inversion_steps
        if self.adapt == "full":
            del settings["lora_rank"]
        if self.draws:
            drawn = ("num_inference_steps", "guidance_scale", "scheduler")
            settings |= {f"prior_{name}": getattr(sheet, name) for name in drawn}
        return settings

    def applied_to(self, config: InversionConfig) -> InversionConfig:
        """The recipe with the steps that count."""
        return replace(config, inversion_steps=self.adapt_steps) if self.tunes else config


EMBEDDING_ALONE = AdaptConfig()


@dataclass(frozen=True)
class SheetConfig(Options):
    """How the samples of the contact sheet are generated."""

    sheet_samples: int = option(3, "images generated with each embedding for the sheet", 1, 16)
    num_inference_steps: int | None = option(
        None,
        "denoising steps of these images",
        1,
        MAX_DENOISING_STEPS,
        shown_default="50 with Stable Diffusion 1.x and 2.x, of other families docs/MODELS.md",
    )
    guidance_scale: float | None = option(
        None,
        "classifier-free guidance scale of these images; <= 1 disables it",
        0,
        MAX_GUIDANCE,
        shown_default="7.5 with Stable Diffusion 1.x and 2.x, of other families docs/MODELS.md",
    )
    scheduler: SchedulerName = option("default", "scheduler of these images, as in step 2")
