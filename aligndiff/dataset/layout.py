"""Every path of the formats on disk, in one place.

<dataset_dir>/
  dataset.json
  <category>/learned_embeddings/learned_embeds.safetensors, inversion.json, loss.png
  <category>/learned_embeddings/pytorch_lora_weights.safetensors, denoiser.safetensors   --adapt
  <category>/learned_embeddings/bg_lambda_<value>/..., judged.json   when several are compared
  <category>/learned_embeddings/choice.json, choice.md     when one of them was chosen
  synthesized/<entry id>/entry.json, generated_images/, attention_masks/, aligndiff_masks/, samples/
  synthesized/<entry id>/failures/                         why samples could not be made
  synthesized/<entry id>/shards/shard_000000.tar, index.jsonl      when its samples are packed
  scenes/<category>-<hash>/scenes.json, images/, masks/, samples/, failures/
  backgrounds/<entry id>/                                  as below synthesized/, drawn by a prompt
  sheets/1_inversion.png, 2_synthesis.png, 3_masks.png, 4_scenes.png, backgrounds.png
  prompts/<category>.txt, report.json, report.png          what augment_prompts wrote, to be edited
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from aligndiff.core.errors import GONE, MachineFault
from aligndiff.core.files import fingerprint
from aligndiff.dataset.entries import EmbeddingEntry, Entry, slug

Step = Literal["1_inversion", "2_synthesis", "3_masks", "4_scenes", "backgrounds"]


DATASET_FILE = "dataset.json"
SCENES, BACKGROUNDS = "scenes", "backgrounds"  # folders in it

# What an embedding's folder holds.
LEARNED = "learned_embeddings"
EMBEDDING = "learned_embeds.safetensors"
INVERSION_RECORD = "inversion.json"
LOSS_PLOT = "loss.png"
FAILURE = "failure.json"
OUTDATED = "outdated.json"
# What was tuned of the denoiser together with it, by the value of --adapt: LoRA, under the name
# that diffusers looks for, or all of its weights.
ADAPTATIONS = {"lora": "pytorch_lora_weights.safetensors", "full": "denoiser.safetensors"}

_RECORD = re.compile(r"image_(\d{6,})\.json")


def embedding_dir(root: Path, entry: EmbeddingEntry, bg_lambda: float | None = None) -> Path:
    """Where step 1 writes: below the folder of the pairs, or a folder for each value of a sweep.

    Nothing is written outside the dataset folder: what is learned from pairs that lie elsewhere
    has a place of its own in it.
    """
    pairs = root / entry.path
    if Path(os.path.realpath(pairs)).is_relative_to(os.path.realpath(root)):
        folder = pairs / LEARNED
    else:
        folder = root / LEARNED / f"{slug(pairs.name)}-{fingerprint(entry.path)[:8]}"
    return folder if bg_lambda is None else folder / f"bg_lambda_{bg_lambda:g}"


def embedding_file(root: Path, entry: EmbeddingEntry, bg_lambda: float | None = None) -> Path:
    return embedding_dir(root, entry, bg_lambda) / EMBEDDING


def sheet_path(root: Path, step: Step) -> Path:
    """The contact sheet of a step."""
    return root / "sheets" / f"{step}.png"


@dataclass(frozen=True)
class EntryFolder:
    """Where steps 2 and 3 keep the samples of one entry."""

    root: Path
    entry: Entry

    @cached_property  # an id is a hash, and there may be a million samples
    def folder(self) -> Path:
        return self.root / "synthesized" / self.entry.id

    @property
    def entry_json(self) -> Path:
        return self.folder / "entry.json"

    def image_path(self, index: int, image_format: str) -> Path:
        """The generated image; `image_format` is "jpg" or "png"."""
        return self.folder / "generated_images" / f"{_name(index)}.{image_format}"

    def heatmap_path(self, index: int) -> Path:
        """The soft coarse mask, 8-bit grey (the folder keeps its old name)."""
        return self.folder / "attention_masks" / f"{_name(index)}.png"

    def mask_path(self, index: int) -> Path:
        """The hard mask of step 3, 0 / 255."""
        return self.folder / "aligndiff_masks" / f"{_name(index)}.png"

    def record_path(self, index: int) -> Path:
        """The sample's record; written last, so it marks the sample done."""
        return self.folder / "samples" / f"{_name(index)}.json"

    def failure_path(self, index: int) -> Path:
        """Why step 2 or 3 failed with a sample; only as long as it does."""
        return self.folder / "failures" / f"{_name(index)}.json"

    @property
    def shards(self) -> Path:
        """The folder of the tar files and their index."""
        return self.folder / "shards"

    @property
    def shard_index(self) -> Path:
        """What the tar files hold; written last, so it marks the samples packed."""
        return self.shards / "index.jsonl"

    def shard_path(self, number: int) -> Path:
        """One of the tar files that hold packed samples."""
        return self.shards / shard_name(number)

    def sample_name(self, index: int) -> str:
        """Unique within the dataset folder, fit for a file name: "fish-1a2b3c4d_000007"."""
        return f"{self.folder.name}_{index:06d}"

    def sample_folders(self) -> list[Path]:
        """The folders of loose samples."""
        of_a_sample = [self.image_path(0, "jpg"), self.heatmap_path(0), self.mask_path(0)]
        return [path.parent for path in (*of_a_sample, self.record_path(0))]

    def outputs(self) -> list[Path]:
        """One file of each folder that steps 2 and 3 write into."""
        samples = [folder / _name(0) for folder in self.sample_folders()]
        return [self.entry_json, *samples, self.failure_path(0), self.shard_index]

    def make(self) -> None:
        """Make the entry's folder. Raises MachineFault when the dataset folder is gone.

        It may have gone since it was read: nothing is made in its place, nor where its disk was.
        """
        check_still_there(self.root)
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(exist_ok=True)

    def indices(self) -> list[int]:
        """The indices of all samples that have a record of their own (not packed), in order."""
        return _indices(self.folder / "samples")

    def failed_indices(self) -> list[int]:
        """The indices of all samples with a record of a failure, in order."""
        return _indices(self.folder / "failures")


class BackgroundFolder(EntryFolder):
    """Where the images of a background's prompt are kept, like the samples of an entry."""

    @cached_property
    def folder(self) -> Path:
        return self.root / BACKGROUNDS / self.entry.id


@dataclass(frozen=True)
class SceneFolder:
    """Where the composed scenes of a category are kept."""

    root: Path
    category: str

    @cached_property
    def folder(self) -> Path:
        return self.root / SCENES / f"{slug(self.category)}-{fingerprint(self.category)[:8]}"

    @property
    def scenes_json(self) -> Path:
        return self.folder / "scenes.json"

    def image_path(self, index: int, image_format: str) -> Path:
        """The composed image; `image_format` is "jpg" or "png"."""
        return self.folder / "images" / f"{_name(index)}.{image_format}"

    def mask_path(self, index: int) -> Path:
        """The mask: 0 background, 127 ignore, 255 object."""
        return self.folder / "masks" / f"{_name(index)}.png"

    def record_path(self, index: int) -> Path:
        """The scene's record; written last, so it marks the scene done."""
        return self.folder / "samples" / f"{_name(index)}.json"

    def failure_path(self, index: int) -> Path:
        """Why the scene could not be composed; only as long as that is so."""
        return self.folder / "failures" / f"{_name(index)}.json"

    def scene_name(self, index: int) -> str:
        """Unique within the dataset folder, fit for a file name: "scene-fish-1a2b3c4d_000007"."""
        return f"scene-{self.folder.name}_{index:06d}"

    def outputs(self) -> list[Path]:
        """One file of each folder that is written into."""
        files = [self.image_path(0, "jpg"), self.mask_path(0), self.record_path(0)]
        return [self.scenes_json, *files, self.failure_path(0)]

    def make(self) -> None:
        """Make the folder. Raises MachineFault when the dataset folder is gone."""
        check_still_there(self.root)
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(exist_ok=True)

    def indices(self) -> list[int]:
        """The indices of all scenes that have a record, in order."""
        return _indices(self.folder / "samples")

    def failed_indices(self) -> list[int]:
        """The indices of all scenes with a record of a failure, in order."""
        return _indices(self.folder / "failures")


def check_still_there(root: Path) -> None:
    """Raise MachineFault when a dataset folder that was read is gone, or its disk."""
    if not root.is_dir():
        raise MachineFault(f"{root}: this folder {GONE}")
    if not (root / DATASET_FILE).is_file():
        raise MachineFault(f"{root / DATASET_FILE}: {GONE}")


def _indices(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    matches = (_RECORD.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def shard_name(number: int) -> str:
    """A tar file's name; there are six digits at least, so that names sort as numbers do."""
    return f"shard_{number:06d}.tar"


def _name(index: int) -> str:
    return f"image_{index:06d}"
