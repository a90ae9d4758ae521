"""What step 1 shows: a few images drawn with each learned embedding, and the sheet of them all.

The images lie beside their embedding, so that the sheet needs no model once they are drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aligndiff.core.files import file_fingerprint, read_json, write_json
from aligndiff.dataset.entries import placeholder_tokens
from aligndiff.dataset.images import Uint8, read_image, write_image
from aligndiff.dataset.records import read_record
from aligndiff.dataset.samples import sample_seed
from aligndiff.dataset.support import SUPPORT_SIDE, find_pairs, load_pair, reduce_pair
from aligndiff.diffusion.adapters import adaptation_fingerprint
from aligndiff.diffusion.families import steps_and_guidance
from aligndiff.inversion.config import SheetConfig
from aligndiff.inversion.plan import SAMPLES, InversionJob, noting_failures
from aligndiff.inversion.probe import learning_plot
from aligndiff.render.canvas import GREEN, framed
from aligndiff.render.overlay import overlay_mask
from aligndiff.render.sheet import grid, write_sheet

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# Support pairs on the sheet; more would push the samples out of sight.
SHOWN_PAIRS = 3
# px of a tile's side: enough to judge a texture.
TILE = 192
NO_MEMORY = "out of memory while drawing: try a smaller --sheet_samples"


def has_samples(job: InversionJob, config: SheetConfig) -> bool:
    """Whether the images drawn with this embedding in this way are there."""
    marker = _marker(job)
    return marker.exists() and read_json(marker) == _drawn_from(job, config)


def draw_missing(
    pipe: DiffusionPipeline, jobs: Sequence[InversionJob], config: SheetConfig
) -> dict[Path, str]:
    """Draw the images that learned embeddings lack; returns why one failed, by the job's folder."""
    failed: dict[Path, str] = {}
    for job in jobs:
        if not job.is_learned or has_samples(job, config):
            continue
        with noting_failures(failed, job, NO_MEMORY):
            draw_samples(pipe, job, config)
    return failed


def draw_samples(pipe: DiffusionPipeline, job: InversionJob, config: SheetConfig) -> None:
    """Draw a few images with a learned embedding by the plain pipeline, and write them beside it.

    Their seeds depend on the object and on `seed` alone: the same for every `bg_lambda`.
    """
    from aligndiff.diffusion.adapters import adapted
    from aligndiff.diffusion.embeddings import load_embedding
    from aligndiff.diffusion.pipeline import family_of, image_size, scheduled
    from aligndiff.diffusion.prompts import encode
    from aligndiff.diffusion.sampling import SamplerSettings, draw

    embedding = load_embedding(job.embedding)
    side = job.settings["resolution"] or image_size(pipe)
    count, seed = config.sheet_samples, job.settings["seed"]
    seeds = [sample_seed(seed, job.entry.id, index) for index in range(count)]
    steps, scale = steps_and_guidance(family_of(pipe), config)
    settings = SamplerSettings(steps, scale, (side, side))
    tokens = placeholder_tokens(len(embedding))
    prompt = encode(pipe, job.entry.prompt(tokens), embedding, guided=scale > 1)
    with scheduled(pipe, config.scheduler), adapted(pipe, job.adaptation):
        images = draw(pipe, prompt, seeds, settings).permute(0, 2, 3, 1).cpu().numpy()
    for index, image in enumerate(images):
        write_image(_sample_path(job, index), (np.nan_to_num(image) * 255).round().astype("uint8"))
    job.failure.unlink(missing_ok=True)
    write_json(_marker(job), _drawn_from(job, config))


def write_inversion_sheet(
    path: Path, objects: Sequence[Sequence[InversionJob]], chosen: Collection[Path] = ()
) -> bool:
    """Write the contact sheet of all embeddings that are there: a row for each object.

    A row holds support pairs with their masks, then the samples of each `bg_lambda`; with a single
    value the loss curve stands between. Samples of the embeddings in the `chosen` folders have a
    green frame. Returns False when nothing is learned: no sheet then.
    """
    rows = [jobs for jobs in objects if any(job.is_learned for job in jobs)]
    if not rows:
        return False
    values = [job.bg_lambda for job in rows[0]]
    drawn = [[_samples(job, job.folder in chosen) for job in jobs] for jobs in rows]
    count = max(1, *(len(images) for row in drawn for images in row))
    pairs = [_support_tiles(jobs[0]) for jobs in rows]
    shown = max(map(len, pairs))
    titles = ["support", *[""] * (shown - 1)] + (["loss"] if len(values) == 1 else [])
    for value in values:
        titles += [f"bg_lambda {value:g}", *[""] * (count - 1)]
    tiles = []
    for jobs, support, row in zip(rows, pairs, drawn, strict=True):
        line = support + [None] * (shown - len(support))
        line += [_loss(jobs[0])] if len(values) == 1 else []
        line += [image for images in row for image in images + [None] * (count - len(images))]
        tiles.append(line)
    heading = "Step 1: what each object's embedding has learned"
    if adapt := rows[0][0].settings.get("adapt"):
        heading += f", with the denoiser tuned ({adapt})"
    if chosen:
        heading += " (in green: chosen)"
    names = [jobs[0].entry.category for jobs in rows]
    sheet = grid(tiles, title=heading, row_titles=names, column_titles=titles, tile=TILE)
    write_sheet(path, sheet)
    return True


def _support_tiles(job: InversionJob) -> list[Uint8 | None]:
    paths = find_pairs(job.support_dir, job.entry.mask_class)[:SHOWN_PAIRS]
    pairs = (reduce_pair(job.view(load_pair(pair)), SUPPORT_SIDE) for pair in paths)
    return [overlay_mask(pair.image, pair.mask) for pair in pairs]


def _samples(job: InversionJob, is_chosen: bool) -> list[Uint8 | None]:
    """The images drawn with an embedding; none when it is not learned or not drawn yet."""
    if not (job.is_learned and _marker(job).exists()):
        return []
    count = int(read_json(_marker(job))["sheet_samples"])
    images = [read_image(_sample_path(job, index)) for index in range(count)]
    return [framed(image, GREEN) for image in images] if is_chosen else [*images]


def _loss(job: InversionJob) -> Uint8 | None:
    record = read_record(job.folder)
    if record is None:
        return None
    return learning_plot(record, "", "", (TILE, TILE))


def _sample_path(job: InversionJob, index: int) -> Path:
    return job.folder / SAMPLES / f"sample_{index}.png"


def _marker(job: InversionJob) -> Path:
    """Written after the images: it says what they were drawn from."""
    return job.folder / SAMPLES / "samples.json"


def _drawn_from(job: InversionJob, config: SheetConfig) -> dict[str, object]:
    settings = {**asdict(config), "embedding": file_fingerprint(job.embedding)}
    if config.scheduler == "default":  # absent in folders from before there was a choice
        del settings["scheduler"]
    if job.adaptation is not None:
        settings["adaptation"] = adaptation_fingerprint(job.adaptation)
    return settings
