"""How many texts a bank has, by source, and how far they lie apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from aligndiff.dataset.images import Uint8
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.prompts.bank import texts_of
from aligndiff.prompts.candidate import Candidate
from aligndiff.prompts.meaning import Embedder, Vectors
from aligndiff.prompts.spread import mean_nearest_distance
from aligndiff.render.plot import Curve, curve_plot

_POINTS = (2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


@dataclass(frozen=True)
class CategoryReport:
    """The texts of a category: how many by source, and their spread.

    Attributes:
        counts: texts by source, "hand" those typed into `dataset.json`.
        spread: mean of 1 - cosine to the most alike other text; NaN for fewer than two.
        curve: that of the first so many, over their number.
    """

    counts: Mapping[str, int]
    spread: float
    curve: Mapping[int, float]


def report_bank(bank: PromptBank, embedder: Embedder) -> dict[str, CategoryReport]:
    """The report of every category of the bank, in its order."""
    reports = {}
    for category in bank.categories:
        texts = [*texts_of(bank, category, False), *texts_of(bank, category, True)]
        vectors = embedder.embed([candidate.text for candidate in texts])
        reports[category] = _report(texts, vectors)
    return reports


def _report(texts: Sequence[Candidate], vectors: Vectors) -> CategoryReport:
    counts = Counter(candidate.source for candidate in texts)
    points = [*(n for n in _POINTS if n < len(texts)), *([len(texts)] if len(texts) > 1 else [])]
    curve = {n: mean_nearest_distance(vectors[:n]) for n in points}
    return CategoryReport(counts, mean_nearest_distance(vectors), curve)


def report_rows(
    reports: Mapping[str, CategoryReport],
) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the table."""
    sources = list(dict.fromkeys(name for report in reports.values() for name in report.counts))
    rows: list[list[object]] = [
        [
            category,
            *(report.counts.get(source, 0) for source in sources),
            report.spread if isfinite(report.spread) else None,
        ]
        for category, report in reports.items()
    ]
    return ["class", *sources, "spread"], rows


def report_json(reports: Mapping[str, CategoryReport], embedder: Embedder) -> dict[str, Any]:
    """The same figures for a file."""
    return {
        "compared_by": embedder.name,
        "classes": {
            category: {
                "texts": dict(report.counts),
                "spread": report.spread if isfinite(report.spread) else None,
                "spread_of_first": {str(n): value for n, value in report.curve.items()},
            }
            for category, report in reports.items()
        },
    }


def report_plot(reports: Mapping[str, CategoryReport], embedder: Embedder) -> Uint8 | None:
    """Spread over the number of texts; None when no category has two. uint8 RGB (h, w, 3)."""
    curves = {
        category: Curve([*report.curve], [*report.curve.values()])
        for category, report in reports.items()
        if report.curve
    }
    if not curves:
        return None
    title = f"mean distance of a text to its nearest, by {embedder.name}"
    return curve_plot(curves, title, "texts", log_counts=True)
