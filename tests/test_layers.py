"""The rules of the house: who may import whom, what is slow, who may print, what things are called.

docs/ARCHITECTURE.md says why.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "aligndiff").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
# From the lowest to the highest; packages of one line do not import each other.
LAYERS = (
    ("core",),
    ("dataset",),
    ("runner",),
    ("masks",),
    ("render", "diffusion", "segmenters", "annotations", "composition"),
    ("preparation", "inversion", "synthesis", "refinement", "training", "evaluation")
    + ("scenes", "export", "gallery", "prompts"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SLOW = {"torch", "diffusers", "transformers", "matplotlib", "tqdm"}
# Files that may import torch at their top: no command imports them before its work begins.
TORCH_FILES = ("learn", "latents", "loss", "direction", "train", "episodes", "recipe", "api")
STEP_LINES, MODULE_LINES, FUNCTION_LINES = 40, 400, 60


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def package_of(module: str) -> str | None:
    """The package of a module of the library; None for what lies above all of them."""
    parts = module.split(".")
    return parts[1] if parts[0] == "aligndiff" and len(parts) > 1 and parts[1] in LEVEL else None


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a tree imports, at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            yield node.module or ""


def top_imports(tree: ast.Module) -> set[str]:
    """What is imported when the module is, by its first word."""
    nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name.split(".")[0] for node in nodes for name in imports(node)}


def layer_problems(module: str, source: str) -> list[str]:
    """What a module of the library imports and may not."""
    own, problems = package_of(module), []
    for name in sorted(set(imports(ast.parse(source)))):
        if name.split(".")[0] == "scripts":
            problems.append(f"{module} imports {name}")
        other = package_of(name)
        if own is None or other is None or other == own:
            continue
        if LEVEL[other] > LEVEL[own]:
            problems.append(f"{module} imports the higher {name}")
        elif LEVEL[other] == LEVEL[own]:
            problems.append(f"{module} imports {name}, which stands beside it")
    return problems


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    assert layer_problems(name_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("aligndiff.dataset.a", "from aligndiff.diffusion import b", "the higher"),
        ("aligndiff.core.a", "def f():\n    import aligndiff.dataset.b", "the higher"),
        ("aligndiff.diffusion.a", "from scripts.example import b", "imports scripts.example"),
        ("aligndiff.synthesis.a", "from aligndiff.inversion.b import c", "stands beside it"),
    ],
)
def test_a_wrong_import_is_seen(module: str, source: str, problem: str) -> None:
    assert any(problem in line for line in layer_problems(module, source))


@pytest.mark.parametrize("path", [*LIBRARY, *SCRIPTS], ids=name_of)
def test_what_is_slow_is_imported_late(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    if parts[:2] in (("aligndiff", "segmenters"), ("aligndiff", "diffusion")):
        return
    if parts[:2] in (("scripts", "benchmark"), ("scripts", "gpu_check"), ("scripts", "tiny_world")):
        return
    slow = top_imports(ast.parse(path.read_text())) & SLOW
    assert not slow or path.stem in TORCH_FILES


# Whatever answers before a model is loaded: --help, a bad option, a mistake in dataset.json.
@pytest.mark.parametrize(
    "module",
    [
        "aligndiff",
        "aligndiff.__main__",
        *(name_of(path) for path in LIBRARY if path.name in ("step.py", "run.py")),
        *(name_of(path) for path in sorted((ROOT / "scripts").glob("*.py"))),
        "scripts.benchmark.__main__",
        "scripts.drill.__main__",
        "scripts.gpu_check.__main__",
        "scripts.tiny_world.measure.__main__",
    ],
)
def test_a_command_starts_without_torch(module: str) -> None:
    ask = f"print(sorted({SLOW!r} & set(sys.modules)))"
    command = [sys.executable, "-c", f"import sys, {module}; {ask}"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def calls(tree: ast.AST, names: set[str]) -> list[str]:
    return [
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_only_who_drives_prints(path: Path) -> None:
    parts = path.relative_to(ROOT / "aligndiff").parts
    if parts[0] == "runner" or path.stem in ("step", "run", "console", "exits"):
        return
    tree = ast.parse(path.read_text())
    assert calls(tree, {"print", "say", "warn", "table", "progress"}) == []
    if parts[0] in ("dataset", "diffusion", "segmenters", "render"):
        assert "aligndiff.core.console" not in set(imports(tree))


NAMES_SSP = (
    *("segmenters/ssp/", "segmenters/load.py", "training/"),
    *("segmenters/features/extractors/ssp.py", "segmenters/features/extractors/table.py"),
)


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_what_is_inside_a_model_is_named_in_its_folder_only(path: Path) -> None:
    place = path.relative_to(ROOT / "aligndiff").as_posix()
    code = "\n".join(ast.unparse(node) for node in body_without_docstrings(path))
    # The sentence encoder that compares texts has a tokenizer too.
    if not place.startswith("diffusion/") and place != "prompts/meaning.py":
        assert not re.findall(r"\bunet\b|\btext_encoder\b|Tokenizer\b|UNet2D|StableDiffusion", code)
    if not place.startswith(NAMES_SSP):
        assert not re.findall(
            r"\bSSP|\bssp\b", code.replace("'ssp'", "") if place == "api.py" else code
        )


def body_without_docstrings(path: Path) -> list[ast.stmt]:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                body[0].value.value = ""
    return tree.body


def test_no_two_public_classes_have_one_name() -> None:
    names = Counter(
        node.name
        for path in [*LIBRARY, *SCRIPTS]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_three_modules_with_one_prefix_are_a_folder() -> None:
    for folder in {path.parent for path in [*LIBRARY, *SCRIPTS]}:
        stems = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")]
        prefixes = Counter(stem.split("_")[0] for stem in stems)
        assert [prefix for prefix, count in prefixes.items() if count > 2] == [], folder


@pytest.mark.parametrize("path", [*LIBRARY, *SCRIPTS], ids=name_of)
def test_lengths(path: Path) -> None:
    text = path.read_text()
    lines = text.count("\n")
    assert lines <= MODULE_LINES
    if path.parent == ROOT / "scripts" and re.search(
        r"from aligndiff\.\w+\.(step|run|backgrounds) import", text
    ):
        assert lines <= STEP_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            assert node.end_lineno - node.lineno < FUNCTION_LINES, node.name
