"""The options that say how a segmenter's map becomes a mask of the object alone."""

from __future__ import annotations

from dataclasses import dataclass

from aligndiff.core.options import Options, option
from aligndiff.masks.edges.table import EDGES

EDGES_HELP = (
    "how masks get sharp edges; its setting is chosen on the support pairs, none where it does not "
    "help there"
)
REGIONS_HELP = "which regions of a mask stay: those that resemble the support's object, or all"
REGIONS = ("object", "all")


@dataclass(frozen=True)
class MaskOptions(Options):
    """Edges and company, as step 3 has them by default."""

    refine_edges: str = option("guided", EDGES_HELP, choices=EDGES)
    edge_model: str | None = option(
        None, "weights of --refine_edges sam: a folder, or a hub name", shown_default="none"
    )
    regions: str = option("object", REGIONS_HELP, choices=REGIONS)

    def contradictions(self) -> list[str]:
        if self.edge_model is not None and self.refine_edges != "sam":
            way = f"--refine_edges {self.refine_edges}"
            return [f"--edge_model: {way} has no weights; leave it out"]
        return []

    @property
    def changes_nothing(self) -> bool:
        """Whether masks are the segmenter's own."""
        return self.refine_edges == "none" and self.regions == "all"
