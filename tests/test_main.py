"""The command `aligndiff`: its sub-commands are the scripts, which run from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from aligndiff.__main__ import COMMANDS, main

ROOT = Path(__file__).resolve().parents[1]
SLOW = {"torch", "diffusers", "transformers"}


def run(
    words: list[str], folder: Path = ROOT, search_path: str | None = str(ROOT)
) -> subprocess.CompletedProcess[str]:
    """`python words` in a folder; without a `search_path` this package is not to be found there."""
    environment = os.environ | {"COLUMNS": "100"}
    environment.pop("PYTHONPATH", None)
    if search_path is not None:
        environment["PYTHONPATH"] = search_path
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def aligndiff(*words: str) -> subprocess.CompletedProcess[str]:
    return run(["-m", "aligndiff", *words])


def test_help_lists_every_command_with_what_it_does() -> None:
    done = aligndiff("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("usage: aligndiff ")
    told = " ".join(done.stdout.split())
    for name, (_, text) in COMMANDS.items():
        assert f"{name} {text}" in told


def test_every_script_of_the_library_is_a_command() -> None:
    thin = {
        path.stem
        for path in (ROOT / "scripts").glob("*.py")
        if "exit_with(lambda: main" in path.read_text()
    }
    assert thin == set(COMMANDS)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ([], "aligndiff: which of prepare_dataset, augment_prompts, "),
        (["mask_generatoin"], "aligndiff: unknown command mask_generatoin, did you mean mask_gen"),
        (
            ["refine"],
            "aligndiff: unknown command refine; there are prepare_dataset, augment_prompts, ",
        ),
        (["--overwrite"], "unknown argument --overwrite"),
        (["mask_generation", "--overwrit"], "the following arguments are required: --dataset_dir"),
        (["evaluate"], "aligndiff evaluate: which of masks, benchmark, support, gain?"),
    ],
)
def test_a_slip_of_the_pen_is_one_line(typed: list[str], line: str) -> None:
    done = aligndiff(*typed)
    assert (done.returncode, done.stdout) == (2, "")
    (told,) = done.stderr.splitlines()
    assert told.startswith(f"error: {line}"), told


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_the_scripts_but_for_its_name(name: str) -> None:
    of_command, of_script = (
        aligndiff(name, "--help"),
        run(["-m", f"scripts.{name}", "--help"]),
    )
    assert of_command.returncode == of_script.returncode == 0
    assert of_command.stdout.startswith(f"usage: aligndiff {name} ")
    # The usage is wrapped to the name's length.
    as_script = of_command.stdout.replace(f"aligndiff {name}", f"python -m scripts.{name}")
    assert as_script.split() == of_script.stdout.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_script_runs_by_its_path_from_another_folder(name: str, tmp_path: Path) -> None:
    done = run([str(ROOT / "scripts" / f"{name}.py"), "--help"], tmp_path, search_path=None)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
    assert list(tmp_path.iterdir()) == []


def test_no_command_waits_for_torch_to_be_imported() -> None:
    modules = ", ".join(module for module, _ in COMMANDS.values())
    code = f"import sys, aligndiff.__main__, {modules}; print(sorted({SLOW!r} & set(sys.modules)))"
    done = run(["-c", code])
    assert done.stdout.strip() == "[]", done.stderr


def test_the_installed_command_is_this_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["aligndiff"].partition(":")
    assert getattr(import_module(module), function) is main
