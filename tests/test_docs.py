"""The docs are true: README's commands and Python run, saved help is real, links lead somewhere.

To write docs/CLI.md anew after a change of options: UPDATE_DOCS=1 pytest tests/test_docs.py
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.reporting import without_bars

ROOT = Path(__file__).resolve().parents[1]
CLI_DOC = ROOT / "docs" / "CLI.md"
STEPS = ("image_mask_inversion", "diffuse_img_attention", "mask_generation")
HELP = {  # the heading in docs/CLI.md: what is run
    name: f"scripts.{name}"
    for name in (
        *(*STEPS, "prepare_dataset", "augment_prompts", "view_dataset", "export_dataset"),
        *("evaluate", "evaluate masks", "evaluate benchmark", "evaluate support", "evaluate gain"),
        *("draw_backgrounds", "compose_scenes"),
        *("train_segmenter", "benchmark", "drill", "gpu_check"),
    )
} | {"aligndiff": "aligndiff"}
CLI_INTRO = """# Options

What `--help` prints, kept true by a test. Options that several scripts share mean the same in each.
"""
# The commands are README's own; these only make them small. The last of two equal options counts.
QUICKLY = {
    "image_mask_inversion": "--inversion_steps 2 --sheet_samples 1 --num_inference_steps 2",
    "diffuse_img_attention": "--image_per_class 6 --num_inference_steps 2",
    "mask_generation": "",
    "view_dataset": "",
    "export_dataset": "",
    "train_segmenter": "--steps 2 --batch_size 1 --side 64 --val_episodes 2",
}
# The same for the numbers of README's Python.
QUICK_PYTHON = {
    "inversion_steps=500": "inversion_steps=2",
    "count=8": "count=2",
    "num_inference_steps=20": "num_inference_steps=2",
}


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "100", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def readme_commands(language: str) -> list[list[str]]:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("python ")]


def test_saved_help_is_what_the_scripts_print() -> None:
    sections = []
    for heading, words in HELP.items():
        printed = run(["-m", *words.split(), "--help"])
        assert printed.returncode == 0, printed.stderr
        sections.append(f"## {heading}\n\n```text\n{printed.stdout.rstrip()}\n```\n")
    expected = "\n".join([CLI_INTRO, *sections])
    if os.environ.get("UPDATE_DOCS"):
        CLI_DOC.write_text(expected)
    # argparse breaks its lines differently from version to version: compare the words.
    assert CLI_DOC.read_text().split() == expected.split()


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a fresh clone's example_dataset holds, without what the steps make there."""
    folder = tmp_path_factory.mktemp("readme") / "example_dataset"
    made = shutil.ignore_patterns("learned_embeddings", "synthesized", "sheets", "photos")
    shutil.copytree(ROOT / "example_dataset", folder, ignore=made)
    return folder


def test_readme_commands_run_in_their_order(example: Path) -> None:
    """The three scripts in a row on the tiny models, as a user types them, then the sweep."""
    commands = readme_commands("bash")
    assert [command[2].removeprefix("scripts.") for command in commands[:3]] == list(STEPS)
    for command in commands:
        if "--exclude" in command:  # somebody has looked, and marked one
            folder, *_ = sorted((example / "synthesized").iterdir())
            (example.parent / "bad.txt").write_text(f"{folder.name}_000000\n")
        places = {"./example_dataset": str(example)} | {
            word: str(example.parent / word) for word in ("bad.txt", "runs/segmenter")
        }
        typed = [places.get(word, word) for word in command[1:]]
        options = shlex.split(QUICKLY[command[2].removeprefix("scripts.")])
        done = run([*typed, *options])
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        # With so few images none may fall to the validation split, which the export tells.
        told = [line for line in without_bars(done.stderr) if "the validation split" not in line]
        assert told == []
    records = [json.loads(path.read_text()) for path in example.glob("synthesized/*/samples/*")]
    assert len(records) == 12  # 6 of each of two classes
    assert {record["status"] for record in records} <= {"refined", "rejected"}
    masked = [record for record in records if record["status"] == "refined"]
    assert len(list(example.glob("synthesized/*/aligndiff_masks/*.png"))) == len(masked)
    assert (example / "gallery" / "index.html").exists()
    assert len(list(example.glob("exports/voc/JPEGImages/*.jpg"))) == len(masked) - 1
    assert (example.parent / "runs" / "segmenter" / "best.safetensors").exists()
    sheets = {path.name for path in (example / "sheets").iterdir()}
    assert sheets == {"1_inversion.png", "2_synthesis.png", "3_masks.png"}
    swept = sorted(path.name for path in (example / "fish" / "learned_embeddings").glob("bg_*"))
    assert swept == ["bg_lambda_0.2", "bg_lambda_0.6", "bg_lambda_1"]


def test_readme_python_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    for number, small in QUICK_PYTHON.items():
        assert number in block
        block = block.replace(number, small)
    done = run(["-c", block])
    assert done.returncode == 0, done.stderr
    outcomes = ast.literal_eval(done.stdout)
    assert len(outcomes) == 2
    assert set(outcomes) <= {"consensus", "pseudo_label", "rejected"}


@pytest.mark.parametrize("page", ["ARCHITECTURE", "METHOD"])
def test_files_and_functions_named_in_a_page_exist(page: str) -> None:
    """`package/file.py` is below aligndiff/; `names` after it in a row of a table are in it."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    for path, names in re.findall(r"`(\w+/[\w/]+\.py)`((?:[:,] `\w+`)*)", text):
        file = ROOT / ("" if path.startswith("tests/") else "aligndiff") / path
        assert file.exists(), path
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(class|def) {name}\b", file.read_text(), re.M), f"{path}: {name}"


@pytest.mark.parametrize("command", readme_commands("text"), ids=lambda words: words[2])
def test_commands_that_need_other_weights_say_so_in_one_line(command: list[str]) -> None:
    done = run(command[1:])
    assert done.returncode == 2
    assert "tiny" in done.stderr or "image_mask_inversion" in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines and all(line.startswith("error: ") for line in lines), done.stderr


def test_links_lead_somewhere() -> None:
    for page in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("pretrained_weights/*.md"),
        *ROOT.glob("example_dataset/photos/*.md"),
    ]:
        assert "@@" not in page.read_text(), f"{page.name} has a gap"
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name} links to {link}"
