"""The families of text-to-image models that work here: a record each, keyed by pipeline class.

The class is the `_class_name` of a model's model_index.json. A record holds the facts that the
pipeline's own code does not tell; what the engine does with them is in `diffusion/pipeline.py`,
`diffusion/prompts.py` and `diffusion/attention.py`. docs/MODELS.md says what was tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

from aligndiff.core.errors import InputError

# Blocks in which text and image are one sequence, each with weights of its own, or all of them.
DOUBLE = r"transformer_blocks\.\d+\.attn"
JOINT = r"(single_)?transformer_blocks\.\d+\.attn"
# Of joint layers the middle ones say best where a word is (published for Stable Diffusion 3, where
# it is block 9 of 24), and to look at all of them would cost as much as their attention.
MIDDLE = (0.3, 0.5)
CROSS = r"transformer_blocks\.\d+\.attn2"


@dataclass(frozen=True)
class TextTokens:
    """Where the tokens of one text encoder stand among the keys of an attention layer.

    Token p of the ids that the encoder receives is key p + `offset`; `after_image`: counted from
    the end of the image's positions; `from_end`: the last id is the last key.
    """

    encoder: str  # the pipeline's component
    offset: int = 0
    after_image: bool = False
    from_end: bool = False


@dataclass(frozen=True)
class Family:
    """What the engine has to know of a family besides its pipeline's own call.

    `layers` is a regular expression of the whole names, inside the denoiser, of the attention
    modules in which image positions look at text. `limits` are the most tokens of a prompt, start
    and end tokens included, that each tokenizer may give before the model cuts it.
    """

    title: str
    layers: str
    text: tuple[TextTokens, ...]
    limits: Mapping[str, int]
    # Names of an embedding's tensors by text encoder, as other programs read them; none: the token.
    tensors: Mapping[str, str] = field(default_factory=dict)
    # The part of these layers, in their order, that a heatmap is taken from.
    depth: tuple[float, float] = (0.0, 1.0)
    image: Literal["all", "first", "last"] = "all"  # of a layer's queries, the image's positions
    # Rows of a batch that see the prompt under guidance: the last or first half of a doubled
    # batch, the first of two calls, or all, because there is no unconditional half.
    conditional: Literal["last", "first", "first call", "all"] = "last"
    guidance_argument: str = "guidance_scale"
    guidance_off: float = 1.0  # the argument's value for one half only
    guidance: float = 1.0  # default of data sets: lower than for pictures
    steps: int = 50  # default number of denoising steps
    flow: bool = True  # flow matching; else epsilon, v or sample by the scheduler's configuration
    patch: int = 1  # latent positions on a side of one image token
    image_multiple: int = 1  # the image's tokens are filled up to a multiple of this
    multiple: int = 8  # px; a side must be a multiple of it, and of a token's side
    side: int | None = None  # px; None: what the denoiser's `sample_size` says
    one_timestep: bool = False  # a call takes one noise level only, whatever its batch
    float32_latents: bool = False  # the pipeline keeps its latents in float32
    negative_prompt: bool = True  # the unconditional half, if there is one, takes a prompt
    arguments: Mapping[str, object] = field(default_factory=dict)  # of every call of the pipeline

    @property
    def has_negative(self) -> bool:
        """Whether there is an unconditional half that takes a negative prompt."""
        return self.negative_prompt and self.conditional != "all"


_SD = Family(
    title="Stable Diffusion 1.x and 2.x",
    layers=r"(down|up)_blocks\.\d+\..*attn2",
    text=(TextTokens("text_encoder"),),
    limits={"tokenizer": 77},
    guidance=7.5,  # the method as published
    flow=False,
)
_LCM = Family(
    title="LCM",
    layers=_SD.layers,
    text=_SD.text,
    limits=_SD.limits,
    conditional="all",  # guidance is an input of the UNet
    guidance=5.0,
    steps=8,
    flow=False,
)
_SDXL = Family(
    title="SDXL (also Turbo, Lightning, Playground)",
    layers=_SD.layers,
    text=_SD.text,  # the second encoder's channels stand beside the first one's, key by key
    limits={"tokenizer": 77, "tokenizer_2": 77},
    tensors={"text_encoder": "clip_l", "text_encoder_2": "clip_g"},
    guidance=4.0,
    steps=30,
    flow=False,
)
_SD3 = Family(
    title="Stable Diffusion 3 and 3.5",
    layers=DOUBLE,
    depth=MIDDLE,
    text=(
        TextTokens("text_encoder", after_image=True),
        TextTokens("text_encoder_3", offset=77, after_image=True),
    ),
    limits={"tokenizer": 77, "tokenizer_2": 77, "tokenizer_3": 256},
    tensors={"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"},
    image="first",
    guidance=3.5,
    steps=28,
    patch=2,
    multiple=16,
    arguments={"max_sequence_length": 256},
)
_FLUX = Family(
    title="FLUX.1 (dev, schnell)",
    layers=DOUBLE,
    depth=(0.5, 1.0),  # where its concepts are sharpest in print
    text=(TextTokens("text_encoder_2"),),  # CLIP gives the pooled vector only
    limits={"tokenizer_2": 256},
    tensors={"text_encoder": "clip_l", "text_encoder_2": "t5xxl"},
    image="last",
    conditional="all",  # guidance is an input of the transformer, of schnell none at all
    guidance=2.5,
    steps=28,
    patch=2,
    multiple=16,
    side=1024,
    arguments={"max_sequence_length": 256},  # schnell takes no more
)
_FLUX2_KLEIN = Family(
    title="FLUX.2 klein",
    layers=JOINT,
    depth=MIDDLE,
    text=(TextTokens("text_encoder"),),
    limits={"tokenizer": 500},  # 512 with the chat template
    image="last",
    conditional="first call",
    guidance=1.0,  # distilled; of the base models 4
    steps=4,
    patch=2,
    multiple=16,
    side=1024,
    negative_prompt=False,
    arguments={"max_sequence_length": 512},
)
_CHROMA = Family(
    title="Chroma",
    layers=DOUBLE,
    depth=(0.5, 1.0),  # as FLUX.1, which it is made of
    text=(TextTokens("text_encoder"),),
    limits={"tokenizer": 512},
    image="last",
    conditional="first call",
    guidance=3.0,
    steps=30,
    patch=2,
    multiple=16,
    side=1024,
    arguments={"max_sequence_length": 512},
)
_PIXART_SIGMA = Family(
    title="PixArt-Sigma",
    layers=CROSS,
    text=(TextTokens("text_encoder"),),
    limits={"tokenizer": 300},
    guidance=3.0,
    steps=20,
    flow=False,
    patch=2,
    multiple=16,
    arguments={
        "max_sequence_length": 300,
        "use_resolution_binning": False,
        "clean_caption": False,  # it would take a placeholder token for markup
    },
)
_PIXART_ALPHA = Family(
    title="PixArt-alpha",
    layers=CROSS,
    text=_PIXART_SIGMA.text,
    limits={"tokenizer": 120},
    guidance=3.0,
    steps=20,
    flow=False,
    patch=2,
    multiple=16,
    arguments={**_PIXART_SIGMA.arguments, "max_sequence_length": 120},
)
_SANA = Family(
    title="Sana",
    layers=CROSS,
    # An instruction stands before the prompt, of which the transformer gets the end only.
    text=(TextTokens("text_encoder", from_end=True),),
    limits={"tokenizer": 298},
    guidance=3.0,
    steps=20,
    multiple=32,
    arguments={"max_sequence_length": 300, "use_resolution_binning": False},
)
_LUMINA2 = Family(
    title="Lumina Image 2.0",
    layers=r"layers\.\d+\.attn",  # not the refiners, which see one of the two
    depth=MIDDLE,
    text=(TextTokens("text_encoder"),),
    limits={"tokenizer": 220},  # 256 with the system prompt
    image="last",
    conditional="first call",
    guidance=3.0,
    steps=30,
    patch=2,
    multiple=16,
    side=1024,
    arguments={"max_sequence_length": 256},
)
_QWEN = Family(
    title="Qwen-Image",
    layers=DOUBLE,
    depth=MIDDLE,
    text=(TextTokens("text_encoder", offset=-34),),  # the chat template's first tokens are dropped
    limits={"tokenizer": 500},
    image="last",
    conditional="first call",
    guidance_argument="true_cfg_scale",
    guidance=2.5,
    steps=30,
    patch=2,
    multiple=16,
    side=1024,
    arguments={"max_sequence_length": 512},
)
_Z_IMAGE = Family(
    title="Z-Image (also Turbo)",
    layers=r"layers\.\d+\.attention",  # not the refiners, which see one of the two
    depth=MIDDLE,
    text=(TextTokens("text_encoder", after_image=True),),
    limits={"tokenizer": 500},  # 512 with the chat template
    image="first",
    conditional="first",
    guidance_off=0.0,
    guidance=1.0,  # Turbo is distilled; of the base model 3
    steps=9,
    patch=2,
    image_multiple=32,
    multiple=16,
    side=1024,
    float32_latents=True,
    arguments={"max_sequence_length": 512},
)
_AURA_FLOW = Family(
    title="AuraFlow",
    layers=r"(joint|single)_transformer_blocks\.\d+\.attn",
    depth=MIDDLE,
    text=(TextTokens("text_encoder", offset=8),),  # after the register tokens
    limits={"tokenizer": 256},
    image="last",
    guidance=2.5,
    steps=30,
    patch=2,
    multiple=16,
    one_timestep=True,
    arguments={"max_sequence_length": 256},
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "StableDiffusionPipeline": _SD,
        "LatentConsistencyModelPipeline": _LCM,
        "StableDiffusionXLPipeline": _SDXL,
        "StableDiffusion3Pipeline": _SD3,
        "FluxPipeline": _FLUX,
        "Flux2KleinPipeline": _FLUX2_KLEIN,
        "ChromaPipeline": _CHROMA,
        "PixArtAlphaPipeline": _PIXART_ALPHA,
        "PixArtSigmaPipeline": _PIXART_SIGMA,
        "SanaPipeline": _SANA,
        "Lumina2Pipeline": _LUMINA2,
        "QwenImagePipeline": _QWEN,
        "ZImagePipeline": _Z_IMAGE,
        "AuraFlowPipeline": _AURA_FLOW,
    }
)


class _Drawing(Protocol):
    """Options of drawing that may be left to the family."""

    @property
    def num_inference_steps(self) -> int | None: ...
    @property
    def guidance_scale(self) -> float | None: ...


def steps_and_guidance(family: Family, config: _Drawing) -> tuple[int, float]:
    """The steps and the guidance scale of a configuration, or the family's where it has none."""
    steps, scale = config.num_inference_steps, config.guidance_scale
    return (
        family.steps if steps is None else steps,
        family.guidance if scale is None else scale,
    )


def check_drawing(
    family: Family, negative_prompt: str, side: Sequence[int], name: str = "--negative_prompt"
) -> list[str]:
    """What a family cannot draw: a negative prompt, or sides (px) of the images; a line each.

    `name` is what gives the negative prompt.
    """
    problems = []
    if negative_prompt and not family.has_negative:
        problems.append(f"{name}: {family.title} takes none; leave it out")
    if any(length % family.multiple for length in side):
        problems.append(f"--side: must be a multiple of {family.multiple} px with {family.title}")
    return problems


def find_family(pipeline_class: str) -> Family:
    """The record of a pipeline class; InputError, with all that is supported, for another one."""
    family = FAMILIES.get(pipeline_class)
    if family is None:
        raise InputError(f"{pipeline_class} is not supported; supported are {supported()}")
    return family


def supported() -> str:
    """The families by name, for messages and help texts."""
    return ", ".join(dict.fromkeys(family.title for family in FAMILIES.values()))
