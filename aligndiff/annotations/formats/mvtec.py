"""MVTec AD: <object>/test/<defect>/000.png and <object>/ground_truth/<defect>/000_mask.png."""

from __future__ import annotations

from aligndiff.annotations.source import Collector, SourceReading, SourceTree

_PHOTOS, _MASKS, _GOOD = "test", "ground_truth", "good"


def recognise(tree: SourceTree) -> str | None:
    """The first mask that has its photo."""
    return next((mask for mask, photo in _pairs(tree) if photo is not None), None)


def read(tree: SourceTree) -> SourceReading:
    collector = Collector(tree)
    several = len({mask.split(f"{_MASKS}/")[0] for mask, _ in _pairs(tree)}) > 1
    for mask, photo in _pairs(tree):
        if photo is None:
            collector.problems.append(f"{mask}: has no photo in {_PHOTOS}/")
            continue
        *above, _, defect, _ = photo.split("/")
        # Defects of several objects have names in common.
        category = f"{defect} {above[-1]}" if several and above else defect
        collector.add(photo, category, tree.mask(mask), mask)
    defective = [n for n in tree.pictures if f"/{_PHOTOS}/" in f"/{n}" and f"/{_GOOD}/" not in n]
    return collector.reading(defective)


def _pairs(tree: SourceTree) -> list[tuple[str, str | None]]:
    """(mask, photo) of every mask in ground_truth/<defect>/; None where there is no photo."""
    photos = {name.rsplit(".", 1)[0]: name for name in tree.pictures}
    pairs = []
    for name in tree.pictures:
        parts = name.rsplit(".", 1)[0].split("/")
        if len(parts) < 3 or parts[-3] != _MASKS:
            continue
        stem = parts[-1].removesuffix("_mask")
        pairs.append((name, photos.get("/".join([*parts[:-3], _PHOTOS, parts[-2], stem]))))
    return pairs
