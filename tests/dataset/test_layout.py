from __future__ import annotations

from pathlib import Path

from aligndiff.dataset.entries import EmbeddingEntry
from aligndiff.dataset.layout import (
    EntryFolder,
    embedding_dir,
    embedding_file,
    sheet_path,
)

ROOT = Path("data")
ENTRY = EmbeddingEntry(type="NM_embedding", category="fish", D_good_dir="a", path="objects/fish")


def test_embeddings() -> None:
    folder = ROOT / "objects/fish/learned_embeddings"
    assert embedding_dir(ROOT, ENTRY) == folder
    assert embedding_file(ROOT, ENTRY) == folder / "learned_embeds.safetensors"
    assert embedding_dir(ROOT, ENTRY, 1.0) == folder / "bg_lambda_1"
    assert embedding_file(ROOT, ENTRY, 0.2) == folder / "bg_lambda_0.2/learned_embeds.safetensors"


def test_samples() -> None:
    place = EntryFolder(ROOT, ENTRY)
    folder = ROOT / "synthesized" / ENTRY.id
    assert place.folder == folder
    assert place.entry_json == folder / "entry.json"
    assert place.image_path(7, "jpg") == folder / "generated_images/image_000007.jpg"
    assert place.heatmap_path(7) == folder / "attention_masks/image_000007.png"
    assert place.mask_path(7) == folder / "aligndiff_masks/image_000007.png"
    assert place.record_path(1234567) == folder / "samples/image_1234567.json"
    assert sheet_path(ROOT, "3_masks") == ROOT / "sheets/3_masks.png"


def test_indices_are_those_with_a_record(tmp_path: Path) -> None:
    place = EntryFolder(tmp_path, ENTRY)
    assert place.indices() == []
    place.record_path(0).parent.mkdir(parents=True)
    for index in (10, 2, 1234567):
        place.record_path(index).touch()
    (place.folder / "samples" / ".image_000003.json.12.tmp").touch()
    (place.folder / "samples" / "notes.txt").touch()
    assert place.indices() == [2, 10, 1234567]
