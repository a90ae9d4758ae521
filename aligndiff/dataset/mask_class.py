"""Which class of a mask file is the object, as it is written in dataset.json.

7           the class or instance of this number (a grey level, a palette's index)
"#c08080"   the class of this colour; "192,128,128" is the same
"any"       everything but the background: 255 and white are object, too
"trimap"    grey as in matting: dark is background, mid grey is ignored, bright is object
"alpha"     what is not transparent
"""

from __future__ import annotations

import re

MaskClass = int | str
ANY, TRIMAP, ALPHA = "any", "trimap", "alpha"
_LARGEST = 65535  # of 16 bits
_COLOUR = re.compile(r"#([0-9a-fA-F]{6})|(\d{1,3}), ?(\d{1,3}), ?(\d{1,3})")


def check_mask_class(mask_class: object) -> str | None:
    """What is wrong with a mask class, or None."""
    if isinstance(mask_class, int) and not isinstance(mask_class, bool):
        return None if 0 <= mask_class <= _LARGEST else f"must be a number from 0 to {_LARGEST}"
    if mask_class in (ANY, TRIMAP, ALPHA):
        return None
    if isinstance(mask_class, str) and colour_of(mask_class) is not None:
        return None
    return 'must be a class number, a colour as "#c08080", "any", "trimap" or "alpha"'


def colour_of(name: str) -> tuple[int, int, int] | None:
    """The colour that "#c08080" or "192,128,128" names; None for other words."""
    match = _COLOUR.fullmatch(name.strip())
    if match is None:
        return None
    if match[1]:
        red, green, blue = bytes.fromhex(match[1])
        return red, green, blue
    channels = [int(match[at]) for at in (2, 3, 4)]
    return None if max(channels) > 255 else (channels[0], channels[1], channels[2])
