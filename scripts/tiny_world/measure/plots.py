"""The measurement's plots: what synthetic pairs add, and what --bg_lambda changes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from aligndiff.dataset.images import Uint8
from aligndiff.render.plot import Curve, curve_plot
from scripts.tiny_world.measure.report import Findings


def findings_plot(findings: Findings) -> Uint8 | None:
    """The plots of lines 5 and 6 side by side, of those that were measured; else None."""
    plots = []
    if findings.gain:
        names = "line 5: mIoU on fresh scenes", "synthetic pairs"
        plots.append(curve_plot(gain_curves(findings), *names, percent=True))
    if findings.swept_looks:
        names = "line 6: over --bg_lambda", "bg_lambda"
        plots.append(curve_plot(sweep_curves(findings), *names, percent=True))
    return np.concatenate(plots, axis=1) if plots else None


def gain_curves(findings: Findings) -> dict[str, Curve]:
    """The greatest number of real pairs with more and more synthetic ones; fewer pairs alone."""
    real = max(point.real for point in findings.gain)
    points = sorted((p for p in findings.gain if p.real == real), key=lambda p: p.synthetic)
    with_synthetic = Curve(
        [point.synthetic for point in points],
        [point.miou for point in points],
        [min(point.seed_mious) for point in points],
        [max(point.seed_mious) for point in points],
    )
    alone = {
        f"{p.real} real alone": Curve([p.synthetic], [p.miou])
        for p in findings.gain
        if p.real != real
    }
    return {f"{real} real pairs and these": with_synthetic, **alone}


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
