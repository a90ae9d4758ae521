"""The dataset folders of the measurement: what a user would bring, drawn anew for it.

The same arguments draw the same bytes, so that a measurement can be continued.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aligndiff.core.files import write_json
from aligndiff.dataset.images import write_image, write_mask
from aligndiff.dataset.layout import DATASET_FILE, EMBEDDING, INVERSION_RECORD
from scripts.tiny_world.make_example import DEFAULTS, PAIRS, draw_pairs
from scripts.tiny_world.world.example import EXAMPLES, RARE_KIND, RARE_LOOK, resembles_an_example
from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.scene import random_look, random_scene, render
from scripts.tiny_world.world.shapes import RARE, SHAPES

PLAIN_SEED = 91_000_000  # of the pairs of the plain dataset; no training scene has such a seed
DRAW_SEED = 92_000_000  # of the real pairs of line 5
RARE_SEED = 93_000_000  # of those of line 9


def make_plain(folder: Path) -> None:
    """Ten entries, "a photo of a <category>". Their pairs wear a random look: a bank needs some."""
    entries = []
    for number, category in enumerate(SHAPES):
        _draw_any_pairs(category, folder / category, PLAIN_SEED + 100 * number)
        text = f"a photo of a {category}"
        entries.append({"type": "text", "text": text, "category": category, "D_good_dir": category})
    _write_bank(folder, entries)


def make_objects(folder: Path) -> None:
    """The example objects, one ``NM_embedding`` entry each."""
    for category in EXAMPLES:
        draw_pairs(category, folder / category)
    _write_bank(folder, [_learned_entry(category, category) for category in EXAMPLES])


def make_rare(folder: Path) -> None:
    """One object of the rare class, with its ``NM_embedding`` entry."""
    (folder / RARE).mkdir(parents=True, exist_ok=True)
    for index in range(PAIRS):
        scene = random_scene(RARE_SEED + index, RARE, RARE_LOOK, alone=True, kind=RARE_KIND)
        drawn = render(scene)
        write_image(folder / RARE / f"{index + 1}.jpg", drawn.image)
        write_mask(folder / RARE / f"{index + 1}.png", drawn.masks[0])
    _write_bank(folder, [_learned_entry(RARE, RARE)])


def make_plain_objects(folder: Path) -> None:
    """The example objects' pairs with the plain word: "a photo of a fish" in whatever look."""
    entries = []
    for category in EXAMPLES:
        draw_pairs(category, folder / category)
        text = f"a photo of a {category}"
        entries.append({"type": "text", "text": text, "category": category, "D_good_dir": category})
    _write_bank(folder, entries)


def make_draw(folder: Path, draw: int, prompts: int) -> None:
    """The categories of the example objects in any look: a pair of each of five kinds.

    Each has so many prompts, as a user would write them who wants all looks of it.
    """
    entries = []
    for number, category in enumerate(EXAMPLES):
        (folder / category).mkdir(parents=True, exist_ok=True)
        for index, kind in enumerate(list(SHAPES[category])[:PAIRS]):
            seed = DRAW_SEED + 10_000 * draw + 100 * number + index
            drawn = render(random_scene(seed, category, alone=True, kind=kind))
            write_image(folder / category / f"{index + 1}.jpg", drawn.image)
            write_mask(folder / category / f"{index + 1}.png", drawn.masks[0])
        entries += [
            {"type": "text", "text": text, "category": category, "D_good_dir": category}
            for text in draw_prompts(category, prompts, DRAW_SEED + 100 * draw + number)
        ]
    _write_bank(folder, entries)


def draw_prompts(category: str, count: int, seed: int) -> list[str]:
    """Different texts, as "a photo of a striped blue and white fish in the water"."""
    from scripts.tiny_world.world.captions import PLACES, with_article  # which load transformers

    rng, texts = np.random.default_rng((seed, 78)), dict[str, None]()
    while len(texts) < count:
        scene = random_scene(int(rng.integers(2**40)), category, alone=True)
        look = scene.things[0].look
        worn = f"{look.texture} {look.colour} and {look.second}" if look.second else look.colour
        place = f" {PLACES[scene.ground]}" if len(texts) % 2 else ""
        texts[f"a photo of {with_article(worn)} {category}{place}"] = None
    return list(texts)


def make_swept(folder: Path, learned: Path, values: Sequence[float]) -> None:
    """One entry for each object and value of a sweep over --bg_lambda that ``learned`` holds.

    Each gets support pairs of its own and, where step 2 looks for it, a copy of its embedding.
    """
    entries = []
    for value in values:
        for category in EXAMPLES:
            name = swept_name(category, value)
            draw_pairs(category, folder / name)
            source = learned / category / "learned_embeddings" / f"bg_lambda_{value:g}"
            target = folder / name / "learned_embeddings"
            target.mkdir(exist_ok=True)
            for file in (INVERSION_RECORD, EMBEDDING):
                shutil.copyfile(source / file, target / file)
            entries.append(_learned_entry(category, name))
    _write_bank(folder, entries)


def swept_name(category: str, value: float) -> str:
    """The folder of an object with the embedding of one value of the sweep."""
    return f"{category}_{value:g}"


def _draw_any_pairs(category: str, folder: Path, seed: int) -> None:
    """PAIRS scenes with one object of a random look, as 1.jpg + 1.png and so on."""
    look = _any_look(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(PAIRS):
        drawn = render(random_scene(seed + index, category, look, alone=True))
        write_image(folder / f"{index + 1}.jpg", drawn.image)
        write_mask(folder / f"{index + 1}.png", drawn.masks[0])


def _any_look(seed: int) -> Look:
    rng = np.random.default_rng((seed, 79))
    look = random_look(rng)
    while resembles_an_example(look):
        look = random_look(rng)
    return look


def _learned_entry(category: str, folder: str) -> dict[str, str]:
    return {"type": "NM_embedding", "category": category, "D_good_dir": folder, "path": folder}


def _write_bank(folder: Path, entries: Sequence[dict[str, str]]) -> None:
    write_json(folder / DATASET_FILE, {"defaults": DEFAULTS, "prompt_dataset": list(entries)})
