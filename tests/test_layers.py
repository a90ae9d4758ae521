"""Imports go one way, and what is slow to import is imported late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "aligndiff").rglob("*.py"))
QUICK = ("core", "dataset", "render", "runner", "export", "gallery")  # without torch


def imported_modules(source: str) -> set[str]:
    """Every module that a source imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", LIBRARY, ids=module_name)
def test_the_library_does_not_know_the_scripts(path: Path) -> None:
    modules = imported_modules(path.read_text())
    assert not [name for name in modules if name.split(".")[0] == "scripts"]


@pytest.mark.parametrize(
    "path",
    [path for path in LIBRARY if path.relative_to(ROOT).parts[1] in QUICK]
    + sorted((ROOT / "scripts").glob("*.py")),
    ids=module_name,
)
def test_no_slow_import_at_the_top(path: Path) -> None:
    top = [node for node in ast.parse(path.read_text()).body if not is_typing_only(node)]
    modules = imported_modules("\n".join(ast.unparse(n) for n in top if is_import(n)))
    assert not {name.split(".")[0] for name in modules} & {"torch", "diffusers", "transformers"}


def is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def is_typing_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@pytest.mark.parametrize(
    "statement",
    [
        "import aligndiff",
        "import aligndiff.dataset.prompt_bank, aligndiff.render.sheet, aligndiff.runner.local",
    ],
)
def test_importing_does_not_load_torch_or_diffusers(statement: str) -> None:
    ask = "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    command = [sys.executable, "-c", f"import sys; {statement}; {ask}"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
