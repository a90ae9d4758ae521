"""Steps 2 and 3 on entries whose samples are packed, as a user runs them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset import shards
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from scripts import diffuse_img_attention, mask_generation
from scripts.reporting import without_bars

COUNT = 3  # images of each of the two entries


def draw(root: Path, model: Path, count: int = COUNT, *more: str) -> int:
    options = ("--num_inference_steps", "2", "--batch_size", "1", "--device", "cpu")
    where = ("--dataset_dir", str(root), "--diffusion_model", str(model))
    return diffuse_img_attention.main([*where, *options, "--image_per_entry", str(count), *more])


def refine(root: Path, *more: str) -> int:
    options = ("--fss_ckpt_path", "tiny", "--device", "cpu")
    return mask_generation.main(["--dataset_dir", str(root), *options, *more])


def files(root: Path) -> dict[str, bytes]:
    """Every file of the samples by its path."""
    folder = root / "synthesized"
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def times(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (root / "synthesized").rglob("*")}


def place_of(root: Path) -> EntryFolder:
    bank = load_prompt_bank(root)
    return EntryFolder(root, bank.entries[0])


@pytest.fixture(scope="session")
def drawn(
    dataset_template: Path, tiny_pipeline_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The dataset's text entries after step 2. Do not write into it."""
    root = Path(shutil.copytree(dataset_template, tmp_path_factory.mktemp("drawn") / "dataset"))
    bank = json.loads((root / "dataset.json").read_text())
    bank["prompt_dataset"] = [e for e in bank["prompt_dataset"] if e["type"] == "text"]
    (root / "dataset.json").write_text(json.dumps(bank))
    assert draw(root, tiny_pipeline_dir) == 0
    return root


@pytest.fixture
def loose(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "loose"))


@pytest.fixture(scope="session")
def packed_once(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same samples, refined and packed by two. Do not write into it."""
    root = Path(shutil.copytree(drawn, tmp_path_factory.mktemp("packed") / "dataset"))
    assert refine(root, "--shard_size", "2") == 0
    return root


@pytest.fixture
def packed(packed_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed_once, tmp_path / "packed"))


def test_refined_entries_are_packed_with_table_and_sheet(
    loose: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = {name.split("/", 1)[1] for name in files(packed)}
    tars = {f"shards/{name}" for name in ("shard_000000.tar", "shard_000001.tar", "index.jsonl")}
    assert left == {"entry.json", "refinement.json", *tars}
    capsys.readouterr()
    assert refine(packed) == 0
    of_packed = capsys.readouterr().out.splitlines()
    assert "nothing to do: every image has its verdict" in of_packed
    assert f"masks of {place_of(packed).entry.id}: {place_of(packed).shards}" in of_packed
    assert refine(loose) == 0
    of_loose = capsys.readouterr().out.splitlines()
    assert [line for line in of_loose if "  all" in line] == [
        line for line in of_packed if "  all" in line
    ]
    sheets = [(root / "sheets" / "3_masks.png").read_bytes() for root in (loose, packed)]
    assert sheets[0] == sheets[1]


def test_running_steps_2_and_3_again_does_nothing(
    drawn: Path, packed: Path, tiny_pipeline_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aligndiff.diffusion.pretrained.load_pipeline", None)
    monkeypatch.setattr("aligndiff.segmenters.ssp.segmenter.SSPSegmenter", None)
    before = times(packed)
    assert draw(packed, tiny_pipeline_dir) == 0
    sheets = [(root / "sheets" / "2_synthesis.png").read_bytes() for root in (drawn, packed)]
    assert sheets[0] == sheets[1]
    assert draw(packed, tiny_pipeline_dir, COUNT - 1) == 0
    assert refine(packed) == 0 and refine(packed, "--shard_size", "2") == 0
    assert times(packed) == before


def test_more_images_are_drawn_beside_and_refined_with_the_packed_ones(
    loose: Path, packed: Path, tiny_pipeline_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(loose, tiny_pipeline_dir, COUNT + 1) == 0
    assert refine(loose, "--shard_size", "2") == 0
    assert draw(packed, tiny_pipeline_dir, COUNT + 1) == 0
    assert len(files(packed)) == 2 * (5 + 3), "one more sample of each entry, loose"
    capsys.readouterr()
    assert refine(packed, "--shard_size", "2") == 0
    name = place_of(packed).entry.id
    told = f"unpacked {name}: its {COUNT} samples are loose files again"
    assert told in capsys.readouterr().out.splitlines()
    assert files(packed) == files(loose)


def test_other_settings_ask_for_overwrite_and_get_loose_files(
    loose: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ("--pseudo_label_threshold", "0.4")
    before = files(packed)
    with pytest.raises(InputError, match=r"pseudo_label_threshold was 0\.5, now 0\.4"):
        refine(packed, *other)
    assert files(packed) == before
    assert refine(loose, *other) == 0
    assert refine(packed, *other, "--overwrite") == 0
    assert capsys.readouterr().out.count("are loose files again") == 2
    assert files(packed) == files(loose)


def test_overwrite_of_step_2_removes_the_shards(
    drawn: Path, packed: Path, tiny_pipeline_dir: Path
) -> None:
    place_of(packed).shard_path(0).write_bytes(b"broken")
    assert draw(packed, tiny_pipeline_dir, COUNT, "--overwrite") == 0
    made = files(packed)
    for name in [name for name in made if name.endswith("refinement.json")]:
        del made[name]  # which step 3 writes anew
    assert made == files(drawn)


def test_worker_processes_pack_what_one_process_packs(loose: Path, packed: Path) -> None:
    assert refine(loose, "--shard_size", "2", "--workers", "2") == 0
    assert files(loose) == files(packed)


def test_launched_processes_pack_what_they_refined(
    loose: Path, packed: Path, torchrun: Callable[[int, int], None]
) -> None:
    packed_so_far = []
    for rank in (1, 0):  # the first one tells of all of it
        torchrun(rank, 2)
        assert refine(loose, "--shard_size", "2") == 0
        packed_so_far.append(len(list(loose.rglob("index.jsonl"))))
    assert packed_so_far == [1, 2]
    assert files(loose) == files(packed)


def test_an_entry_with_a_sample_that_failed_stays_loose(
    loose: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = place_of(loose)
    place.image_path(1, "jpg").write_bytes(b"broken")
    assert refine(loose, "--shard_size", "2") == 1
    told = f"note: {place.entry.id}: not packed, 1 of its samples has no verdict"
    assert told in capsys.readouterr().err.splitlines()
    assert place.indices() == [0, 1, 2] and not place.shards.exists()
    assert len(list(loose.rglob("index.jsonl"))) == 1, "the other entry is packed"


def test_a_finished_sample_that_lost_its_image_is_told_and_stays_loose(
    loose: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refine(loose) == 0
    place = place_of(loose)
    place.image_path(1, "jpg").unlink()
    capsys.readouterr()
    assert refine(loose, "--shard_size", "2") == 1
    (line,) = without_bars(capsys.readouterr().err)
    assert line.startswith(
        f"failed: {place.entry.id}: not packed: {place.image_path(1, 'jpg')}: no"
    )
    assert place.indices() == [0, 1, 2] and not place.shard_index.exists()


def test_a_tar_that_is_gone_is_named_by_both_steps(packed: Path, tiny_pipeline_dir: Path) -> None:
    tar = place_of(packed).shard_path(1)
    tar.unlink()
    shards._read.cache_clear()  # as in the next run
    before = files(packed)
    for step in (lambda: draw(packed, tiny_pipeline_dir), lambda: refine(packed, "--overwrite")):
        with pytest.raises(InputError) as caught:
            step()
        (line,) = caught.value.problems
        assert line.startswith(f"{tar}: is missing, and samples were packed into it; put a whole")
    assert files(packed) == before
