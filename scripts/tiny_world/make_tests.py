"""Draw fresh scenes of the two example objects with exact masks, to test on by scripts.evaluate.

No training scene, support pair or scene of the measurement is among them. The folder holds
<object>/1.jpg, 1.png and so on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.console import say
from aligndiff.core.exits import exit_with
from aligndiff.core.files import check_writable
from aligndiff.core.options import Options, option, parse
from aligndiff.dataset.images import write_image, write_mask
from scripts.tiny_world.world.example import EXAMPLES, example_scene, resembles_an_example
from scripts.tiny_world.world.scene import Scene, render

FIRST_SEED = 97_000_000  # far from all other scenes
MOST_SCENES = 10_000  # of each object


@dataclass(frozen=True)
class TestSetConfig(Options):
    """The options of the script."""

    output_dir: Path = option(help="folder that receives <object>/1.jpg, 1.png ...")
    scenes: int = option(100, "test scenes of each object", 1, MOST_SCENES)
    crowded: bool = option(False, "each object beside a thing of another kind and look, not alone")


def main(argv: Sequence[str]) -> int:
    """Parse, draw, report; returns the exit code."""
    line = parse(
        "python -m scripts.tiny_world.make_tests",
        __doc__ or "",
        "",
        {"scenes": TestSetConfig},
        argv,
    )
    config = line.config(TestSetConfig)
    check_writable([config.output_dir / name / "1.png" for name in EXAMPLES])
    for category in EXAMPLES:
        (config.output_dir / category).mkdir(parents=True, exist_ok=True)
        for number, scene in enumerate(fresh_scenes(category, config.scenes, config.crowded), 1):
            drawn = render(scene)
            write_image(config.output_dir / category / f"{number}.jpg", drawn.image)
            write_mask(config.output_dir / category / f"{number}.png", drawn.masks[0])
    say(f"{config.scenes} scenes of each of {', '.join(EXAMPLES)}: {config.output_dir}")
    return 0


def fresh_scenes(category: str, count: int, crowded: bool) -> list[Scene]:
    """The object is the first thing of each scene; nothing beside it wears an example's look."""
    scenes: list[Scene] = []
    seed = FIRST_SEED + 100_000 * list(EXAMPLES).index(category)
    while len(scenes) < count:
        scene = example_scene(seed, category, alone=not crowded)
        seed += 1
        if not any(resembles_an_example(thing.look) for thing in scene.things[1:]):
            scenes.append(scene)
    return scenes


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
