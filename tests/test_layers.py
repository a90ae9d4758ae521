"""Imports go one way: scripts -> stages -> models -> data -> ground."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ["ground", "data", "models", "stages"]  # from the lowest to the highest
LIBRARY = sorted((ROOT / "aligndiff").rglob("*.py"))


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


def complaints(module: str, imports: set[str]) -> list[str]:
    """What of its imports a module of the library may not have."""
    parts = module.split(".")
    layer = parts[1] if len(parts) > 1 else ""
    found = [f"{module} imports {name}" for name in imports if name.split(".")[0] == "scripts"]
    for name in sorted(imports):
        target = name.split(".")
        if target[0] != "aligndiff" or len(target) < 2 or target[1] not in LAYERS:
            continue
        if layer not in LAYERS or LAYERS.index(target[1]) > LAYERS.index(layer):
            found.append(f"{module} imports the higher {name}")
        elif layer == target[1] == "stages" and len(target) > 2 and not one_stage(parts, target):
            found.append(f"{module} imports another stage: {name}")
    return found


def one_stage(module: list[str], target: list[str]) -> bool:
    """Whether two modules belong to one stage: inversion and inversion_sheet do."""
    return len(module) > 2 and module[2].split("_")[0] == target[2].split("_")[0]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", LIBRARY, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    assert complaints(module_name(path), imported_modules(path.read_text())) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("aligndiff.data.a", "from aligndiff.models import b", "the higher aligndiff.models"),
        (
            "aligndiff.ground.a",
            "def f():\n    import aligndiff.data.b",
            "the higher aligndiff.data",
        ),
        ("aligndiff.models.a", "from scripts.options import b", "imports scripts.options"),
        (
            "aligndiff.stages.a",
            "from aligndiff.stages.b import c",
            "another stage: aligndiff.stages",
        ),
        (
            "aligndiff.stages.a",
            "from aligndiff.stages import b",
            "another stage: aligndiff.stages.b",
        ),
        ("aligndiff", "import aligndiff.ground.files", "the higher aligndiff.ground.files"),
    ],
)
def test_the_check_sees_a_wrong_import(module: str, source: str, complaint: str) -> None:
    assert any(complaint in line for line in complaints(module, imported_modules(source)))


@pytest.mark.parametrize(
    "path",
    [path for path in LIBRARY if path.parent.name in ("ground", "data")]
    + sorted((ROOT / "scripts").glob("*.py")),
    ids=module_name,
)
def test_no_slow_import_at_the_top_below_models(path: Path) -> None:
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
        "import aligndiff.data.prompt_bank, aligndiff.data.sheet, aligndiff.ground.launch",
    ],
)
def test_importing_does_not_load_torch_or_diffusers(statement: str) -> None:
    ask = "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    command = [sys.executable, "-c", f"import sys; {statement}; {ask}"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
