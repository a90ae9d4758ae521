"""The three steps in a row as commands, on a tiny pipeline of every family."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from aligndiff.dataset.layout import EMBEDDING, LEARNED
from aligndiff.diffusion.families import FAMILIES
from scripts import diffuse_img_attention, image_mask_inversion, mask_generation
from tests.families import tiny_family

QUICK = ("--side", "64", "--num_inference_steps", "2", "--device", "cpu", "--precision", "float32")
TEXT = {"type": "text", "category": "fish", "D_good_dir": "fish", "text": "a fish on water"}
LOOK = {"type": "NM_embedding", "category": "fish", "D_good_dir": "fish", "path": "fish"}


def outputs(root: Path) -> dict[str, bytes]:
    folder = root / "synthesized"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def learn(root: Path, model: Path) -> None:
    argv = ["--dataset_dir", str(root), "--diffusion_model", str(model), *QUICK]
    recipe = ["--inversion_steps", "2", "--inversion_train_bs", "2", "--gradient_accumulation", "1"]
    assert image_mask_inversion.main([*argv, *recipe, "--sheet_samples", "1"]) == 0


def draw(root: Path, model: Path) -> int:
    """Batches of one: what shares a batch may differ by a grey level, and bytes are compared."""
    argv = ["--dataset_dir", str(root), "--diffusion_model", str(model), *QUICK]
    more = ["--image_per_class", "4", "--batch_size", "1", "--no_sheet"]
    return diffuse_img_attention.main([*argv, *more])


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_three_steps_in_a_row(
    kind: str,
    dataset_dir: Path,
    tmp_path: Path,
    torchrun: Callable[[int, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Step 2 stopped in the middle goes on to the very files that two processes make."""
    model = tmp_path / "model"
    tiny_family(kind).save_pretrained(model)
    (dataset_dir / "dataset.json").write_text(json.dumps({"prompt_dataset": [TEXT, LOOK]}))
    learn(dataset_dir, model)
    with safe_open(dataset_dir / "fish" / LEARNED / EMBEDDING, "numpy") as file:
        names = set(file.keys())
        about = json.loads(file.metadata()["aligndiff"])
    assert names == (set(FAMILIES[kind].tensors.values()) or {"<fss-fish>"})
    assert about["family"] == FAMILIES[kind].title and about["token"] == "<fss-fish>"
    other = Path(shutil.copytree(dataset_dir, tmp_path / "other"))

    import aligndiff.diffusion.sampling as sampling

    real, calls = sampling.generate, iter((1, 2, 3))

    def stopped(*args: object) -> object:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sampling, "generate", stopped)
        draw(dataset_dir, model)
    assert 1 <= len(list(dataset_dir.glob("synthesized/*/samples/*.json"))) < 4
    assert draw(dataset_dir, model) == 0
    with monkeypatch.context():
        for rank in (1, 0):
            torchrun(rank, 2)
            assert draw(other, model) == 0
    made = outputs(dataset_dir)
    assert made == outputs(other) and len(made) == 2 * (1 + 3 * 2)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name)
    refine = ["--dataset_dir", str(dataset_dir), "--fss_ckpt_path", "tiny", "--device", "cpu"]
    assert mask_generation.main([*refine, "--no_sheet"]) == 0
    records = dataset_dir.glob("synthesized/*/samples/*.json")
    assert {json.loads(path.read_text())["status"] for path in records} <= {"refined", "rejected"}
