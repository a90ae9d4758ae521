"""A segmenter is a module and a line of SEGMENTERS; step 3 runs with any of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.files import file_fingerprint
from aligndiff.dataset.images import read_grey
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import SampleRecord
from aligndiff.refinement.step import main
from aligndiff.segmenters.load import (
    SEGMENTERS,
    SegmenterOptions,
    choose_segmenter,
    load_segmenter,
)
from tests.synthesized_samples import add_synthesized_samples

COUNT = 2
MODULE = Path(__file__).parents[1] / "nearest_colour.py"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A segmenter "nearest" in a module elsewhere, and its weights."""
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(MODULE, tmp_path / "elsewhere" / "segmenter_of_a_user.py")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    monkeypatch.setitem(SEGMENTERS, "nearest", "segmenter_of_a_user")
    path = tmp_path / "reach.json"
    path.write_text(json.dumps({"reach": 20}))
    return path


def test_a_line_of_the_table_is_chosen_and_loaded(weights: Path) -> None:
    choice = choose_segmenter(SegmenterOptions("nearest", str(weights)))
    assert str(choice) == f"nearest, {choice.weights}"
    assert choice.identity == f"nearest reach.json {file_fingerprint(weights)}"
    segmenter = load_segmenter(choice, "cpu", "float32")
    assert type(segmenter).__module__ == "segmenter_of_a_user"
    with pytest.raises(MissingWeightsError, match="no file None for the nearest colour"):
        choose_segmenter(SegmenterOptions("nearest"))


def test_records_of_ssp_name_its_file_alone() -> None:
    """As they did when there was no other segmenter: what is refined stays refined."""
    choice = choose_segmenter(SegmenterOptions(fss_ckpt_path="tiny"))
    file = Path(choice.weights.location)
    assert choice.identity == f"tiny_ssp.safetensors {file_fingerprint(file)}"


def test_step_3_runs_with_it(
    dataset_dir: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truths = add_synthesized_samples(dataset_dir, COUNT)
    root, cpu = ["--dataset_dir", str(dataset_dir)], ["--device", "cpu"]
    argv = [*root, *cpu, "--segmenter", "nearest", "--fss_ckpt_path", str(weights)]
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert f"segmenter: nearest, {weights}" in told
    for entry in load_prompt_bank(dataset_dir).entries:
        place = EntryFolder(dataset_dir, entry)
        settings = json.loads((place.folder / "refinement.json").read_text())["settings"]
        assert settings["checkpoint"] == f"nearest reach.json {file_fingerprint(weights)}"
        for index in range(COUNT):
            record = SampleRecord.read(place.record_path(index))
            assert (record.status, record.mask_source) == ("refined", "consensus")
            mask = read_grey(place.mask_path(index)) > 0
            assert (mask != truths[entry.id][index]).mean() < 0.02  # of JPEG

    assert main(argv) == 0 and "nothing to do" in capsys.readouterr().out
    with pytest.raises(InputError, match="checkpoint was nearest reach.json .*, now tiny_ssp"):
        main([*root, *cpu, "--fss_ckpt_path", "tiny"])


def test_a_segmenter_that_is_not_there_is_told(dataset_dir: Path) -> None:
    with pytest.raises(InputError, match="--segmenter: invalid choice: 'nearest' .*ssp"):
        main(["--dataset_dir", str(dataset_dir), "--segmenter", "nearest"])
    with pytest.raises(InputError, match="--segmenter: must be one of auto, ssp, .*is nearest"):
        SegmenterOptions("nearest")


def test_auto_takes_what_there_is_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    features = "aligndiff.segmenters.features.load"
    named = choose_segmenter(SegmenterOptions(fss_ckpt_path="tiny"))
    assert str(named) == "ssp, tiny (command line)"
    assert str(choose_segmenter(SegmenterOptions(), "tiny")) == "ssp, tiny (dataset.json)"
    model = SegmenterOptions(segmenter_model="efficientnet-lite0")
    assert str(choose_segmenter(model, "tiny")) == "features, efficientnet-lite0 (command line)"

    offline = choose_segmenter(SegmenterOptions())
    assert str(offline) == (
        "features, efficientnet-lite0 (no checkpoint is named, and HF_HUB_OFFLINE is set)"
    )
    assert offline.identity.startswith("features v1 efficientnet-lite0 ")
    monkeypatch.setattr(f"{features}.unreachable_hub", lambda: None)
    online = choose_segmenter(SegmenterOptions())
    assert str(online) == (
        "features, facebook/dinov2-base (no checkpoint is named, and the hub answers)"
    )
    monkeypatch.setattr(f"{features}.is_cached", lambda name: True)
    assert "it is on this machine" in str(choose_segmenter(SegmenterOptions()))


def test_a_segmenter_has_one_set_of_weights() -> None:
    with pytest.raises(InputError, match="--fss_ckpt_path, --segmenter_model: both name"):
        SegmenterOptions("features", "tiny", "efficientnet-lite0")
