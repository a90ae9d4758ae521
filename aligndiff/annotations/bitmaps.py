"""Small pictures that annotation files carry within their text."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from aligndiff.annotations.runs import Bits, check_area
from aligndiff.core.errors import InputError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = 24  # bytes of a PNG up to its width and height


def png_bits(data: bytes) -> Bits:
    """A PNG that marks the object by opacity, or by any value above 0, as bool (h, w)."""
    if not data.startswith(_SIGNATURE) or len(data) < _HEADER:
        raise InputError("its bitmap is no PNG")
    width, height = struct.unpack(">II", data[16:_HEADER])
    check_area((height, width))
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise InputError("its bitmap is a broken PNG")
    if values.ndim == 2:
        return values > 0
    return values[..., 3] > 127 if values.shape[2] == 4 else values.max(axis=2) > 0
