"""One sample that cannot be done: the others are, the reason is kept, repaired it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from aligndiff.core.files import read_json
from scripts.drill.datasets import DrillDatasets
from scripts.drill.lines import line
from scripts.drill.processes import TORCHRUN, run
from scripts.drill.snapshots import differences, tree
from scripts.reporting import Line


def drill(datasets: DrillDatasets) -> Iterator[Line]:
    for who, before, after in (
        ("1 process", (), ()),
        ("2 processes", (), ("--workers", "2")),
        ("torchrun with 2 processes", TORCHRUN, ()),
    ):
        started = time.monotonic()
        what = f"step 3, {who}: half of an image is gone"
        problems = _half_an_image(datasets, before, after)
        fine = "the others done, the reason kept, exit code 1; repaired the same bytes"
        yield line("sample", what, 1, fine, problems, started)
    started = time.monotonic()
    what = "step 2: an embedding so large that the network makes NaN of it"
    problems = _huge_embedding(datasets)
    fine = "the other entries' samples done, the reasons kept, exit code 1"
    yield line("sample", what, 1, fine, problems, started)


def _half_an_image(
    datasets: DrillDatasets, before: Sequence[str], after: Sequence[str]
) -> list[str]:
    dataset = datasets.fresh(3)
    words = [*before, *datasets.words(3, dataset, *after)]
    image = sorted(dataset.glob("synthesized/*/generated_images/*.jpg"))[1]
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    problems = run(words).problems(1)
    verdicts = {
        path: read_json(path)["status"] for path in dataset.glob("synthesized/*/samples/*.json")
    }
    undone = [path.stem for path, status in verdicts.items() if status == "synthesized"]
    if undone != [image.stem]:
        problems.append(f"without a verdict: {undone} instead of {image.stem} alone")
    problems += _wrong_reasons(dataset, {image.stem}, 1)
    image.write_bytes(whole)
    problems += run(words).problems()
    return problems + datasets.compare(3, dataset)


def _huge_embedding(datasets: DrillDatasets) -> list[str]:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    dataset = datasets.fresh(2)
    file = dataset / "fish/learned_embeddings/learned_embeds.safetensors"
    rows = {name: np.full_like(row, 1e38) for name, row in load_file(file).items()}
    save_file(rows, file)
    problems = run(datasets.words(2, dataset)).problems(1)
    wanted = datasets.tree_after(2)
    # All samples of that one entry are lost; those of the others are as ever.
    lost = {path.parents[1].name for path in dataset.glob("synthesized/*/failures/*.json")}
    others = {
        name: found
        for name, found in wanted.items()
        if name.startswith("synthesized/") and lost.isdisjoint(name.split("/"))
    }
    found = tree(dataset)
    problems += differences(others, {name: found[name] for name in others if name in found})
    return problems + _wrong_reasons(dataset, {f"image_{n:06d}" for n in range(4)}, 4)


def _wrong_reasons(dataset: Path, names: set[str], count: int) -> list[str]:
    """What is wrong about the failures that are noted: those of `names`, each with a reason."""
    noted = {path: read_json(path) for path in dataset.glob("synthesized/*/failures/*.json")}
    found = sorted(path.stem for path in noted)
    problems = [] if set(found) == names and len(found) == count else [f"noted: {found}"]
    problems += [
        f"no reason: {path.stem}" for path, told in noted.items() if not told.get("reason")
    ]
    return problems
