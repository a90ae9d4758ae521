"""An independent judge of images of the tiny world: what is in them, what it wears, and where.

A small U-Net, trained with full supervision on rendered scenes alone (see train_judge.py). It has
nothing in common with the models it judges but the world they were all shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_bytes
from scripts.tiny_world.train.run import to_signed
from scripts.tiny_world.world.looks import COLOURS, TEXTURES, Look
from scripts.tiny_world.world.scene import Scene, random_scene, render
from scripts.tiny_world.world.shapes import ALL_SHAPES, RARE, kind_of

WEIGHTS = Path(__file__).resolve().parents[3] / "pretrained_weights" / "tiny_judge.safetensors"
CATEGORY_NAMES = tuple(ALL_SHAPES)
# Every kind of every category: "puffer" is a kind of fish.
KIND_NAMES = tuple((category, kind) for category in ALL_SHAPES for kind in ALL_SHAPES[category])
TEXTURE_NAMES = tuple(TEXTURES)
COLOUR_NAMES = tuple(COLOURS)
CHANNELS = (24, 48, 96, 128)  # at 1/2, 1/4, 1/8 and 1/16 of the image's resolution
# Dots lie on a colour. Of checks, and of stripes nearly as wide as what lies between them, nobody
# can tell which colour is the first.
UNORDERED_TEXTURES = frozenset({"checkered", "striped", "banded"})
SPECKLE = 0.2  # share of a region below which another category in it is taken for a mistake
FRESH_SCENES = 90_000_000  # seeds from here on belong to no training
LOOK_LEVEL, LOOK_CELL = 1, 4  # looks are told at 1/4 of the resolution, in cells of 4 x 4 px
GROUND = len(CATEGORY_NAMES)  # the category of a pixel of no object
NO_SECOND = len(COLOUR_NAMES)  # the second colour of a plain object
BATCH = 16


@dataclass(frozen=True)
class Opinion:
    """Logits, float32. Every cell of an object, of 4 x 4 px, wears the look of that object."""

    category: Tensor  # (b, 12, h, w), of CATEGORY_NAMES and, last, the ground
    texture: Tensor  # (b, 5, h / 4, w / 4)
    colour: Tensor  # (b, 10, h / 4, w / 4)
    second: Tensor  # (b, 11, h / 4, w / 4), the last for no second colour
    kind: Tensor  # (b, 55, h / 4, w / 4), of KIND_NAMES


@dataclass(frozen=True)
class JudgeVerdict:
    """What the judge makes of one image."""

    category: str  # of the main object: the one that covers most pixels
    kind: str  # of that category
    texture: str
    colour: str  # the main colour
    second: str | None  # the colour of the stripes, bands, dots or checks; None if plain
    mask: np.ndarray  # bool (h, w): the pixels of ``category``, or of the category asked for
    foreground: np.ndarray  # bool (h, w): the pixels of any object

    def wears(self, look: Look) -> bool:
        """Whether the texture and both colours are the look's; never if nothing was found."""
        if not self.mask.any() or self.texture != look.texture:
            return False
        found, wanted = (self.colour, self.second), (look.colour, look.second)
        return found == wanted or (look.texture in UNORDERED_TEXTURES and found[::-1] == wanted)


@dataclass(frozen=True)
class JudgeAccuracy:
    """How often, or how far, the judge is right on fresh rendered scenes: shares in [0, 1]."""

    category: float  # of the largest visible object
    kind: float  # of that object, its category being right, too
    look: float  # of that object: texture and both colours
    foreground_iou: float  # mean over scenes, of all their objects against the ground


def _convolution(channels: int, wider: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, wider, 3, padding=1, bias=False),
        nn.BatchNorm2d(wider),
        nn.ReLU(inplace=True),
    )


class Judge(nn.Module):
    """A U-Net from RGB in [-1, 1], float (b, 3, h, w) with sides in steps of 16, to logits.

    Four pixels are one cell of its finest level, and are told apart again at its end: full
    resolution in and out, at a quarter of the cost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(above, here), _convolution(here, here))
            for above, here in zip((12, *CHANNELS), CHANNELS, strict=False)
        )
        self.up = nn.ModuleList(
            _convolution(below + here, here)
            for here, below in zip(CHANNELS, CHANNELS[1:], strict=False)
        )
        self.category = nn.Conv2d(CHANNELS[0], 4 * (GROUND + 1), 3, padding=1)
        self.look_classes = len(TEXTURE_NAMES), len(COLOUR_NAMES), NO_SECOND + 1
        wide = CHANNELS[LOOK_LEVEL]
        self.kind = nn.Sequential(
            _convolution(wide, CHANNELS[-1]), nn.Conv2d(CHANNELS[-1], len(KIND_NAMES), 1)
        )
        self.look = nn.Sequential(
            _convolution(wide, wide), nn.Conv2d(wide, sum(self.look_classes), 1)
        )

    def forward(self, images: Tensor) -> Opinion:
        levels = [self.down[0](F.pixel_unshuffle(images, 2))]
        for block in self.down[1:]:
            levels.append(block(F.max_pool2d(levels[-1], 2)))
        for i in reversed(range(len(self.up))):
            finer = F.interpolate(levels[i + 1], scale_factor=2.0, mode="nearest")
            levels[i] = self.up[i](torch.cat([finer, levels[i]], dim=1))
        look = self.look(levels[LOOK_LEVEL]).float().split(self.look_classes, dim=1)
        category = F.pixel_shuffle(self.category(levels[0]), 2)
        kind = self.kind(levels[LOOK_LEVEL])
        return Opinion(category.float(), *look, kind.float())


def save_judge(judge: Judge, path: Path) -> None:
    """Write the weights as float16 safetensors, whole or not at all."""
    state = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in judge.state_dict().items()
    }
    write_bytes(path, safetensors.torch.save(state))


def load_judge(path: Path = WEIGHTS) -> Judge:
    """The judge, float32 on the CPU, ready to judge. InputError for a file that holds none."""
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; make it by python -m scripts.tiny_world.train judge"
        )
    try:
        state = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file: {error}") from error
    judge = Judge()
    wanted = {name: value.shape for name, value in judge.state_dict().items()}
    if {name: value.shape for name, value in state.items()} != wanted:
        raise InputError(f"{path}: its tensors are not those of this version's judge")
    judge.load_state_dict(state)  # copies, and so converts to float32
    return judge.eval()


@torch.no_grad()
def judge_images(
    judge: Judge, images: np.ndarray, category: str | None = None
) -> list[JudgeVerdict]:
    """One verdict of each image, uint8 (n, h, w, 3) with sides in steps of 16.

    A verdict's category is always that of the main object. With ``category`` its mask and its look
    are of that category's pixels instead, be they few or none.
    """
    device = next(judge.parameters()).device
    verdicts: list[JudgeVerdict] = []
    for start in range(0, len(images), BATCH):
        fields = _seen_twice(judge, to_signed(images[start : start + BATCH]).to(device))
        shares = [logits.softmax(dim=1).cpu().numpy() for logits in fields]
        verdicts += [_verdict(*image, category) for image in zip(*shares, strict=True)]
    return verdicts


def _seen_twice(judge: Judge, images: Tensor) -> list[Tensor]:
    """The fields of an opinion at full resolution, averaged over an image and its mirror image.

    The second look makes outlines a little more exact.
    """
    opinions = judge(images), judge(images.flip(3))
    fields = []
    for name in ("category", "texture", "colour", "second", "kind"):
        straight, mirrored = (getattr(opinion, name) for opinion in opinions)
        field = (straight + mirrored.flip(3)) / 2
        fields.append(F.interpolate(field, size=images.shape[2:], mode="nearest"))
    return fields


def _verdict(
    categories: np.ndarray,
    textures: np.ndarray,
    colours: np.ndarray,
    seconds: np.ndarray,
    kinds: np.ndarray,
    asked: str | None,
) -> JudgeVerdict:
    """The verdict of one image from the probabilities of its pixels, float32 (classes, h, w)."""
    found = _categories_found(categories)
    covered = np.bincount(found.ravel(), minlength=GROUND + 1)[:GROUND]
    main = int(covered.argmax() if covered.any() else categories[:GROUND].sum((1, 2)).argmax())
    mask = found == (main if asked is None else CATEGORY_NAMES.index(asked))
    where = mask if mask.any() else np.ones_like(mask)
    texture = TEXTURE_NAMES[textures[:, where].mean(1).argmax()]
    first, second = colours[:, where].mean(1), seconds[:NO_SECOND, where].mean(1)
    if texture == "plain":
        worn = COLOUR_NAMES[first.argmax()], None
    else:
        both = np.outer(first, second)
        np.fill_diagonal(both, 0)  # two colours are never the same
        one, other = np.unravel_index(both.argmax(), both.shape)
        worn = COLOUR_NAMES[one], COLOUR_NAMES[other]
    kind = _kind_within(kinds, found, main)
    return JudgeVerdict(CATEGORY_NAMES[main], kind, texture, *worn, mask, found < GROUND)


def _kind_within(kinds: np.ndarray, found: np.ndarray, category: int) -> str:
    """The kind of a category on the pixels found to be of it, from probabilities (55, h, w)."""
    where = found == category
    shares = kinds[:, where if where.any() else np.ones_like(where)].mean(axis=1)
    own = [i for i, (name, _) in enumerate(KIND_NAMES) if name == CATEGORY_NAMES[category]]
    return KIND_NAMES[own[int(shares[own].argmax())]][1]


def _categories_found(categories: np.ndarray) -> np.ndarray:
    """The category of every pixel, int (h, w), from probabilities (12, h, w).

    Small patches of another category within a connected region go to the region's category.
    """
    foreground = categories[GROUND] < 0.5
    best = categories[:GROUND].argmax(axis=0)
    count, regions = cv2.connectedComponents(foreground.astype(np.uint8))
    for region in range(1, count):
        inside = regions == region
        sizes = np.bincount(best[inside], minlength=GROUND)
        speckles = inside & (sizes < SPECKLE * sizes.sum())[best]
        best[speckles] = sizes.argmax()
    return np.where(foreground, best, GROUND)


def judged_scene(seed: int) -> Scene:
    """The scene of a seed, of which one in eleven is of the rare class: the judge must know it."""
    return random_scene(seed, RARE if seed % len(CATEGORY_NAMES) == 0 else None)


def judge_accuracy(
    judge: Judge, scenes: int = 400, first_seed: int = FRESH_SCENES
) -> JudgeAccuracy:
    """Compare verdicts with the truth on scenes as they come: nearly half have company.

    Category, kind and look are those of the object with the most visible pixels; the foreground is
    everything the judge gives to any category, compared with all objects of the scene.
    """
    drawn = [judged_scene(seed) for seed in range(first_seed, first_seed + scenes)]
    rendered = [render(scene) for scene in drawn]
    images = np.stack([rendering.image for rendering in rendered])
    verdicts = judge_images(judge, images)
    largest = [
        scene.things[rendering.masks.sum((1, 2)).argmax()]
        for scene, rendering in zip(drawn, rendered, strict=True)
    ]
    pairs = list(zip(verdicts, largest, strict=True))
    found = np.stack([verdict.foreground for verdict in verdicts])
    truth = np.stack([rendering.masks.any(axis=0) for rendering in rendered])
    ious = (found & truth).sum((1, 2)) / (found | truth).sum((1, 2))
    named = [verdict.category == thing.category for verdict, thing in pairs]
    kinds = [verdict.kind == kind_of(thing.category, thing.shape_seed) for verdict, thing in pairs]
    return JudgeAccuracy(
        category=float(np.mean(named)),
        kind=float(np.mean(np.logical_and(named, kinds))),
        look=float(np.mean([v.wears(thing.look) for v, thing in pairs])),
        foreground_iou=float(ious.mean()),
    )
