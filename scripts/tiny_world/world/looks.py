"""Colours, textures and grounds of the tiny world, painted as float32 (h, w, 3) in [0, 255]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (212, 38, 38),
    "orange": (242, 136, 24),
    "yellow": (248, 218, 50),
    "green": (44, 150, 62),
    "blue": (40, 84, 208),
    "purple": (130, 56, 170),
    "pink": (246, 148, 186),
    "white": (248, 248, 244),
    "brown": (126, 80, 48),
    "black": (28, 28, 34),
}
# The noun that names a texture's second colour: "an orange fish with white stripes".
TEXTURES: dict[str, str] = {
    "plain": "",
    "striped": "stripes",
    "banded": "bands",
    "dotted": "dots",
    "checkered": "checks",
}


PERIOD, PERIODS = 0.26, (0.16, 0.22)  # of a texture: of its object's side; bounds, of the image's
# Dots are few and far between: they cover about a fifth, bands and stripes nearly a half. A row
# of dense dots seen from afar is a band, and a model that sees from afar first would draw bands.
DOT_PERIOD, DOT_RADIUS = 1.05, 0.26  # of the period of other textures; of a dot's own period


@dataclass(frozen=True)
class Look:
    """What an object wears: a texture and one or (unless plain) two names of ``COLOURS``."""

    texture: str
    colour: str
    second: str | None = None

    def __post_init__(self) -> None:
        if (self.second is None) != (self.texture == "plain"):
            raise ValueError(f"a {self.texture} look takes {1 + (self.texture != 'plain')} colours")


# Words that name a whole look, as "zebra" or "tartan" do in ordinary captions: what one token can
# say at most. The looks of the example objects have no name.
NAMED_LOOKS: dict[str, Look] = {
    "zebra": Look("striped", "white", "black"),
    "tiger": Look("striped", "orange", "black"),
    "tulip": Look("striped", "pink", "green"),
    "parasol": Look("striped", "red", "yellow"),
    "awning": Look("striped", "green", "white"),
    "pyjama": Look("striped", "blue", "white"),
    "peppermint": Look("striped", "white", "red"),
    "orchid": Look("striped", "purple", "pink"),
    "walnut": Look("striped", "brown", "yellow"),
    "carrot": Look("striped", "orange", "green"),
    "bumblebee": Look("banded", "yellow", "black"),
    "sailor": Look("banded", "white", "blue"),
    "lighthouse": Look("banded", "red", "white"),
    "melon": Look("banded", "green", "yellow"),
    "coral": Look("banded", "orange", "white"),
    "lavender": Look("banded", "purple", "white"),
    "raccoon": Look("banded", "brown", "black"),
    "lagoon": Look("banded", "blue", "green"),
    "salmon": Look("banded", "pink", "orange"),
    "rhubarb": Look("banded", "pink", "red"),
    "ladybird": Look("dotted", "red", "black"),
    "dalmatian": Look("dotted", "white", "black"),
    "leopard": Look("dotted", "yellow", "brown"),
    "trout": Look("dotted", "brown", "orange"),
    "pansy": Look("dotted", "purple", "yellow"),
    "confetti": Look("dotted", "white", "pink"),
    "starling": Look("dotted", "black", "white"),
    "cactus": Look("dotted", "green", "red"),
    "peacock": Look("dotted", "blue", "orange"),
    "apricot": Look("dotted", "orange", "white"),
    "pirate": Look("checkered", "black", "red"),
    "tartan": Look("checkered", "green", "blue"),
    "gingham": Look("checkered", "red", "white"),
    "chess": Look("checkered", "black", "white"),
    "taxi": Look("checkered", "yellow", "black"),
    "jester": Look("checkered", "purple", "orange"),
    "waffle": Look("checkered", "yellow", "brown"),
    "sorbet": Look("checkered", "orange", "pink"),
    "tiles": Look("checkered", "blue", "yellow"),
    "heather": Look("checkered", "pink", "purple"),
}

# Grounds on which a colour cannot be told from what is behind it.
CLASHES: dict[str, frozenset[str]] = {
    "grass": frozenset({"green"}),
    "night": frozenset({"black", "blue"}),
    "sand": frozenset({"white"}),
    "snow": frozenset({"white"}),
    "soil": frozenset({"brown", "black"}),
    "sunset": frozenset({"orange", "pink"}),
    "water": frozenset({"blue"}),
    "wood": frozenset({"brown"}),
}


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    axis = np.arange(size, dtype=np.float32)
    return axis[None, :], axis[:, None]


def texture_period(texture: str, size: float) -> float:
    """How often the pattern repeats on a thing of side ``size``; both in image sides."""
    period = min(float(np.clip(PERIOD * size, *PERIODS)), 0.5 * size)
    return period * (DOT_PERIOD if texture == "dotted" else 1.0)


def texture_share(
    texture: str, shape: tuple[int, int], centre: tuple[float, float], period: float
) -> np.ndarray:
    """Where the second colour shows on a canvas: bool (h, w), lengths in its pixels.

    The pattern belongs to its object: it repeats every ``period`` from the object's ``centre``
    (x, y), where the middle of a stripe, a band or a dot, or a corner of four checks lies.
    """
    height, width = shape
    u = (np.arange(width, dtype=np.float32)[None, :] - centre[0]) / np.float32(period) + 0.5
    v = (np.arange(height, dtype=np.float32)[:, None] - centre[1]) / np.float32(period) + 0.5
    row = np.floor(v)
    if texture == "dotted":
        # Every other row is moved by half a period: rows of dots are no bands.
        u = u + 0.5 * (row % 2)
    u, v = u - np.floor(u) - 0.5, v - row - 0.5  # in [-0.5, 0.5)
    if texture == "striped":
        return np.broadcast_to(np.abs(u) < 0.225, shape)
    if texture == "banded":
        return np.broadcast_to(np.abs(v) < 0.225, shape)
    if texture == "dotted":
        return u**2 + v**2 < DOT_RADIUS**2
    if texture == "checkered":
        return (u < 0) ^ (v < 0)
    return np.zeros(shape, dtype=bool)


def paint_look(
    look: Look,
    shape: tuple[int, int],
    centre: tuple[float, float],
    period: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """A canvas full of the look: float32 (h, w, 3)."""
    jitter = rng.normal(0, 7, (2, 3)).astype(np.float32)
    first = np.array(COLOURS[look.colour], dtype=np.float32) + jitter[0]
    second = np.array(COLOURS[look.second or look.colour], dtype=np.float32) + jitter[1]
    if look.second is None:
        return np.broadcast_to(first, (*shape, 3))
    share = texture_share(look.texture, shape, centre, period)
    return np.where(share[..., None], second, first)


def _blotches(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise with a standard deviation of about 1, float32 (size, size)."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _mottled(
    base: tuple[int, int, int], step: tuple[int, int, int], cells: int
) -> Callable[[int, np.random.Generator], np.ndarray]:
    def paint(size: int, rng: np.random.Generator) -> np.ndarray:
        noise = 0.8 * _blotches(size, cells, rng)
        return np.array(base, np.float32) + noise[..., None] * np.array(step, np.float32)

    return paint


def _fade(
    top: tuple[int, int, int], bottom: tuple[int, int, int], step: tuple[int, int, int]
) -> Callable[[int, np.random.Generator], np.ndarray]:
    def paint(size: int, rng: np.random.Generator) -> np.ndarray:
        share = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
        fade = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
        return fade + _blotches(size, 4, rng)[..., None] * np.array(step, np.float32)

    return paint


def _waves(size: int, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(size)
    period, sway = size / rng.uniform(5, 7), size / rng.uniform(1.5, 3)
    phase = y / period + 0.25 * np.sin(2 * np.pi * (x / sway + rng.uniform()))
    crest = np.sin(2 * np.pi * (phase + rng.uniform()))[..., None]
    return np.array((52, 132, 186), np.float32) + crest * np.array((14, 16, 14), np.float32)


def _planks(size: int, rng: np.random.Generator) -> np.ndarray:
    _, y = _grid(size)
    period = size / rng.integers(4, 6)
    position = (y + rng.uniform(0, period)) / period
    shade = np.where(position % 1 < 0.08, -38.0, 7.0 * np.sin(5.0 * np.floor(position)))
    grain = cv2.resize(rng.normal(0, 4, (32, 2)).astype(np.float32), (size, size))
    return np.array((186, 138, 88), np.float32) + (shade + grain)[..., None].astype(np.float32)


GROUNDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "grass": _mottled((104, 170, 78), (12, 13, 9), 9),
    "night": _fade((14, 18, 52), (34, 34, 84), (3, 3, 6)),
    "sand": _mottled((224, 200, 146), (8, 8, 8), 8),
    "sky": _fade((118, 178, 236), (190, 222, 246), (9, 6, 3)),
    "snow": _mottled((232, 238, 246), (6, 5, 3), 5),
    "soil": _mottled((92, 66, 50), (10, 8, 6), 9),
    "stone": _mottled((146, 146, 150), (12, 12, 12), 7),
    "sunset": _fade((250, 148, 96), (238, 190, 158), (6, 6, 4)),
    "water": _waves,
    "wood": _planks,
}
