"""The measurement's plots: what synthetic pairs add, and what --bg_lambda changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from aligndiff.dataset.images import Uint8
from aligndiff.render.plot import Curve, curve_plot
from scripts.tiny_world.measure.report import Findings

if TYPE_CHECKING:
    from scripts.tiny_world.measure.gain import GainFindings


def findings_plot(findings: Findings) -> Uint8 | None:
    """The plots of lines 5 and 6 side by side, of those that were measured; else None."""
    plots = []
    if findings.gain:
        names = "line 5: mIoU in company", "synthetic pairs of each object"
        curves = gain_curves(findings.gain)
        plots.append(curve_plot(curves, *names, log_counts=True, percent=True))
    if findings.swept_looks:
        names = "line 6: over --bg_lambda", "bg_lambda"
        plots.append(curve_plot(sweep_curves(findings), *names, percent=True))
    return np.concatenate(plots, axis=1) if plots else None


def gain_curves(gain: GainFindings) -> dict[str, Curve]:
    """More and more synthetic pairs beside five real ones; the band is from draw to draw."""
    alone = gain.networks["real"].mious["company"][: len(gain.curve[0].mious["company"])]
    draws = [alone, *(figures.mious["company"] for figures in gain.curve)]
    line = Curve(
        [0, *(figures.samples for figures in gain.curve)],
        [float(np.mean(mious)) for mious in draws],
        [min(mious) for mious in draws],
        [max(mious) for mious in draws],
    )
    return {"5 real pairs and these": line}


def sweep_curves(findings: Findings) -> dict[str, Curve]:
    x = [float(figures.name) for figures in findings.swept_looks]
    looks, masks = findings.swept_looks, findings.swept_masks
    return {
        "has the look": Curve(x, _known(figures.look for figures in looks)),
        "mIoU of masks": Curve(x, _known(figures.kept_iou for figures in masks)),
        "consensus": Curve(x, _known(figures.consensus_share for figures in masks)),
    }


def _known(shares: Iterable[float | None]) -> list[float]:
    return [float("nan") if share is None else share for share in shares]
