"""Which ways to refine edges there are.

A module has `settings(model, device)`: its `EdgeRefiner`s, the one that changes least first. One
with weights has `check(model)` too, which looks for them and loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from aligndiff.masks.edges.base import EdgeRefiner

EDGES = {
    "guided": "aligndiff.masks.edges.guided",
    "grabcut": "aligndiff.masks.edges.grabcut",
    "sam": "aligndiff.masks.edges.sam",
    "none": "aligndiff.masks.edges.none",
}


def check_edges(name: str, model: str | None = None) -> None:
    """Raise InputError or MissingWeightsError where the weights of one way lack."""
    module = import_module(EDGES[name])
    if hasattr(module, "check"):
        module.check(model)


def edge_settings(
    name: str, model: str | None = None, device: str = "auto"
) -> Sequence[EdgeRefiner]:
    """The settings of one way; loads its `model` (hub name or folder) where it has any."""
    settings: Sequence[EdgeRefiner] = import_module(EDGES[name]).settings(model, device)
    return settings
