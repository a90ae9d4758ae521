"""The tiny pipelines of all families, each built once for a test session."""

from __future__ import annotations

import functools
from typing import Any

from scripts.tiny_families.build import build_tiny


@functools.cache
def tiny_family(kind: str) -> Any:
    """The tiny pipeline of a class of `FAMILIES`, frozen as a loaded one. Leave it as it is."""
    from aligndiff.diffusion.hub import quiet_loading
    from aligndiff.diffusion.pretrained import networks

    quiet_loading()
    pipe = build_tiny(kind)
    for network in networks(pipe).values():
        network.requires_grad_(False)
    return pipe
