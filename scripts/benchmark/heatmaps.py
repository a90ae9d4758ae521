"""Part b: from the recorded maps of an image to its heatmap."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from aligndiff.diffusion.attention import LEVELS
from aligndiff.diffusion.heatmaps import fuse_heatmap, heatmap_to_uint8
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import at_most, line
from scripts.benchmark.timing import alternate, clock
from scripts.reporting import Line

SIZE = (512, 512)  # of SD 1.5's images, (h, w) in pixels
CELLS = 64  # of its latents
FLOOR, TARGET = 5.0, at_most(10.0)  # ms
COLUMNS = (1, 2)  # text tokens of a category: "dog" is one, "albatross" two


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """Milliseconds of one heatmap in grey levels; the target is for a word of one token."""
    for columns in COLUMNS:
        maps = random_maps(columns, device)

        def fuse(maps: list[torch.Tensor] = maps) -> object:
            return heatmap_to_uint8(fuse_heatmap(maps, SIZE))

        seconds = alternate({"fuse": fuse}, config.short_rounds, clock(device))["fuse"]
        words = "a word of one token" if columns == 1 else f"a word of {columns} tokens"
        judged = columns == 1
        yield line(
            "b",
            f"heatmap of 512 px, {words}",
            [1000 * value for value in seconds],
            "ms",
            floor=FLOOR if judged else None,
            target=TARGET if judged else None,
        )


def random_maps(columns: int, device: torch.device) -> list[torch.Tensor]:
    """What a recorder of SD 1.5 has at the end: float32 (1, columns, n, n), n = 64, 32, 16."""
    generator = torch.Generator().manual_seed(0)
    sides = [CELLS // 2**level for level in range(LEVELS)]
    return [torch.rand(1, columns, n, n, generator=generator).to(device) for n in sides]
