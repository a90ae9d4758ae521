"""Running a script on bad input, and what every refusal must be like."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core.exits import exit_with
from scripts import diffuse_img_attention, image_mask_inversion, mask_generation

REPOSITORY = Path(__file__).resolve().parents[2]
# Each with the weights it wants: none of them may be loaded.
SCRIPTS = {
    image_mask_inversion: ("--diffusion_model", "tiny"),
    diffuse_img_attention: ("--diffusion_model", "tiny"),
    mask_generation: ("--fss_ckpt_path", "tiny"),
}
Refused = Callable[..., list[str]]
QUICK = ("--inversion_steps", "2", "--inversion_train_bs", "1", "--num_inference_steps", "1")


@pytest.fixture
def start(tiny_pipeline_dir: Path, dataset_dir: Path) -> Any:
    """Run step 1, few steps of it, on a dataset of two objects to learn."""
    path = dataset_dir / "dataset.json"
    bank = json.loads(path.read_text())
    bird = {"type": "NM_embedding", "category": "albatross", "D_good_dir": "albatross"}
    bank["prompt_dataset"].append({**bird, "path": "albatross"})
    path.write_text(json.dumps(bank))
    where = ("--dataset_dir", str(dataset_dir), "--diffusion_model", str(tiny_pipeline_dir))
    return lambda *options: image_mask_inversion.main([*where, *QUICK, *options])


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Run `main` of a script as the command line does and check that it refuses its input well.

    Exit code 2, one plain line on stderr for each problem, no warning of a library, no network
    loaded, and the dataset folder as it was. Returns the lines without their "error: ".
    """

    def refuse(script: object, root: Path, *options: str, loads: bool = False) -> list[str]:
        if not loads:
            for network in (
                "diffusion.pretrained.load_pipeline",
                "segmenters.ssp.segmenter.SSPSegmenter",
            ):
                monkeypatch.setattr(f"aligndiff.{network}", _must_not_load)
        argv = ["--dataset_dir", str(root), *options]
        before = listing(root)
        capfd.readouterr()
        with pytest.raises(SystemExit) as end, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            exit_with(lambda: script.main(argv))  # type: ignore[attr-defined]
        assert end.value.code == 2
        assert [str(warning.message) for warning in warned] == []
        assert listing(root) == before
        return told(capfd.readouterr().err)

    return refuse


def told(stderr: str) -> list[str]:
    """The problems on stderr; fails when it holds anything else, or what breaks a terminal."""
    lines = stderr.splitlines()
    assert lines and all(line.startswith("error: ") for line in lines), stderr
    assert all(line.isprintable() and len(line) < 1100 for line in lines), stderr
    return [line.removeprefix("error: ") for line in lines]


def listing(root: Path) -> dict[str, str]:
    """Every path below `root` with what is there: a file's hash, a link's target, or its kind."""
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder, name)
            if path.is_symlink():
                found[str(path)] = os.readlink(path)
            elif path.is_file() and path.stat().st_size < 2**24:
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[str(path)] = str(path.stat().st_mode)
    return found


def command(script: str, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a process that also fails when it imports torch or diffusers."""
    code = (
        "import sys, atexit, os\n"
        "def check():\n"
        "    found = {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n"
        "    if found: print('loaded', found, file=sys.stderr, flush=True); os._exit(9)\n"
        "atexit.register(check)\n"
        "from aligndiff.core.exits import exit_with\n"
        f"from scripts.{script} import main\n"
        "exit_with(lambda: main(sys.argv[1:]))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        cwd=REPOSITORY,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,  # of a process that hangs, on a pipe for example
    )


def weights(script: object) -> Sequence[str]:
    return SCRIPTS[script]  # type: ignore[index]


def _must_not_load(*_: object, **__: object) -> None:
    raise AssertionError("a network was loaded")
