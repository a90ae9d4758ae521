"""Which definitions of a heatmap there are.

"method" is what generating itself records, with no module. A module has `learn(pipe, prompt,
support, size)`, which gives a `HeatmapDefinition`.
"""

from __future__ import annotations

HEATMAPS = {
    "method": None,
    "support": "aligndiff.synthesis.heatmaps.support",
    "refined": "aligndiff.synthesis.heatmaps.refined",
}
