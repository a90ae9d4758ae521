"""The masks that are scored: as the segmenter gives them, or with the edges of step 3, alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aligndiff.core.options import option
from aligndiff.dataset.support import SupportPair
from aligndiff.masks.edges.base import EdgeRefiner, KeepEdges
from aligndiff.masks.edges.table import EDGES, check_edges, edge_settings
from aligndiff.masks.options import EDGES_HELP, REGIONS, REGIONS_HELP, MaskOptions
from aligndiff.masks.rules import MOST_LEFT_OUT, MaskRules, learn_rules
from aligndiff.segmenters.leave_one_out import maps_of_support

if TYPE_CHECKING:
    from aligndiff.segmenters.base import Encoded, Segmenter, SupportItem

FOREGROUND_THRESHOLD = 0.5  # object where the segmenter's probability is above it, as an argmax
AS_THEY_ARE = MaskRules(KeepEdges(), None, FOREGROUND_THRESHOLD)


@dataclass(frozen=True)
class ScoredMasks(MaskOptions):
    """What becomes of the segmenter's maps before they are scored; by default nothing."""

    refine_edges: str = option("none", EDGES_HELP, choices=EDGES)
    regions: str = option("all", REGIONS_HELP, choices=REGIONS)


@dataclass(frozen=True)
class FinalMasks:
    """How maps become masks, by what `settings` of edges; learned anew from every support."""

    options: MaskOptions = ScoredMasks()
    settings: Sequence[EdgeRefiner] = ()

    def learn(
        self,
        segmenter: Segmenter,
        pairs: Sequence[SupportPair],
        encoded: Sequence[Encoded],
        described: Sequence[SupportItem],
    ) -> MaskRules:
        """The rules of `pairs`; leaves the segmenter with another support."""
        if self.options.changes_nothing:
            return AS_THEY_ARE
        seen = encoded[:MOST_LEFT_OUT] if self.settings else []
        known = maps_of_support(segmenter, pairs, seen, described)
        return learn_rules(pairs, known, self.options, self.settings, FOREGROUND_THRESHOLD)

    def __str__(self) -> str:
        if self.options.changes_nothing:
            return "the segmenter's own masks"
        return f"masks with edges: {self.options.refine_edges}, regions: {self.options.regions}"


OWN_MASKS = FinalMasks()


def checked_masks(options: MaskOptions) -> MaskOptions:
    """The options again; raises InputError where weights that they name are not there."""
    check_edges(options.refine_edges, options.edge_model)
    return options


def open_masks(options: MaskOptions, device: str) -> FinalMasks:
    """With the weights of the edges loaded, where they have any."""
    settings = edge_settings(options.refine_edges, options.edge_model, device)
    return FinalMasks(options, settings)
