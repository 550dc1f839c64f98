"""Who may know what: the house's rules, read from the source with ast and, for torch, from a fresh process."""

import ast
import gc
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "llmdemo"
SOURCES = sorted([*PACKAGE.rglob("*.py"), ROOT / "app.py"])
MOST_LINES, MOST_FUNCTION_LINES = 400, 60


@pytest.fixture(scope="module", autouse=True)
def no_garbage_is_looked_for():
    """Two million nodes of syntax trees stay to the end: to look through them took more than half of the time."""
    gc.disable()
    yield
    imported.cache_clear()
    tree_of.cache_clear()
    gc.enable()


def trees(*folders: str):
    """(path, syntax tree) of every module in these folders of llmdemo, or of all with app.py."""
    for path in SOURCES:
        inside = path.relative_to(PACKAGE).parts[0] if path.is_relative_to(PACKAGE) else "app.py"
        if not folders or inside in folders or inside.removesuffix(".py") in folders:
            yield path, tree_of(path)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(tree: ast.AST) -> set[str]:
    """Full names of the modules that are imported anywhere in the tree, also inside functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def importers(module: str, *folders: str) -> list[str]:
    return [
        str(path.relative_to(ROOT))
        for path, tree in trees(*folders)
        if any(name == module or name.startswith(f"{module}.") for name in imported(tree))
    ]


def calls(tree: ast.AST):
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_only_the_page_imports_gradio():
    outside = [path for path in importers("gradio") if not path.startswith(("llmdemo/ui/", "app.py"))]
    assert outside == []


def test_nothing_below_the_page_imports_the_page():
    outside = [path for path in importers("llmdemo.ui") if not path.startswith(("llmdemo/ui/", "app.py"))]
    assert outside == []


@pytest.mark.parametrize("folder", ["data", "jobs", "runs", "access", "selection", "settings"])
def test_data_and_runs_import_no_torch(folder):
    assert importers("torch", folder) == []
    assert importers("transformers", folder) == []


def test_runs_do_not_import_training_and_training_knows_no_database():
    assert importers("sqlite3", "training") == []
    assert importers("llmdemo.training", "runs") == []
    assert importers("llmdemo.runs", "training") == []


def test_jobs_know_no_kind_of_job():
    for package in ("runs", "training", "evaluation", "experiments", "publish", "models", "data"):
        assert importers(f"llmdemo.{package}", "jobs") == []


def test_core_imports_nothing_of_the_house_and_access_only_core_and_settings():
    for folder, allowed in (("core", {"core"}), ("access", {"access", "core", "settings"})):
        for path, tree in trees(folder):
            inside = {name.split(".")[1] for name in imported(tree) if name.startswith("llmdemo.")}
            assert inside <= allowed, path


def test_decoding_knows_token_ids_only():
    for module in ("tokenizers", "llmdemo.data", "llmdemo.models", "llmdemo.arena"):
        assert importers(module, "decoding") == []


def test_only_models_calls_from_pretrained():
    callers = {
        str(path.relative_to(ROOT))
        for path, tree in trees()
        for call in calls(tree)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "from_pretrained"
    }
    assert {path for path in callers if not path.startswith("llmdemo/models/")} == set()


def test_no_call_trusts_remote_code_a_shell_or_a_pickle():
    found = []
    for path, tree in trees():
        modules = imported(tree) & {"pickle", "dill", "joblib", "shelve", "marshal"}
        found += [f"{path.name}: import {name}" for name in modules]
        for call in calls(tree):
            for keyword in call.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if (keyword.arg, value) in {
                    ("trust_remote_code", True),
                    ("shell", True),
                    ("weights_only", False),
                    ("allow_pickle", True),
                }:
                    found.append(f"{path.name}:{call.lineno}: {keyword.arg}={value}")
            if isinstance(call.func, ast.Name) and call.func.id in ("eval", "exec"):
                found.append(f"{path.name}:{call.lineno}: {call.func.id}")
    assert found == []


def test_modules_and_functions_are_small():
    long = []
    for path, tree in trees():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines >= MOST_LINES:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = node.end_lineno - node.lineno + 1
                if length >= MOST_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length} lines")
    assert long == []


def test_every_module_says_what_it_is():
    assert [str(path) for path, tree in trees() if not ast.get_docstring(tree)] == []


@pytest.mark.slow
def test_the_page_is_built_without_torch():
    """What app.py imports before the page is up: torch and transformers come later, in the background."""
    modules = ("llmdemo.ui.app", "llmdemo.runs", "llmdemo.data", "llmdemo.models.starter", "llmdemo.prepare")
    code = f"import sys, json; import {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    loaded = set(json.loads(result.stdout.splitlines()[-1]))
    assert not loaded & {"torch", "transformers", "datasets", "peft", "galore_torch"}


def test_no_package_imports_what_is_run_as_a_process_of_its_own():
    """`python -m package.worker` imports the package first: a worker that came with it would be loaded twice, with a warning
    in the log of every job."""
    run = [path for path, _ in trees() if '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in run if path.is_relative_to(PACKAGE)]
    assert "llmdemo.maps.worker" in names
    code = """
import importlib, sys
for package in sorted({name.rpartition(".")[0] for name in sys.argv[1:]}):
    for known in [each for each in sys.modules if each.partition(".")[0] == "llmdemo"]:
        del sys.modules[known]
    importlib.import_module(package)
    print(*[name for name in sys.argv[1:] if name.rpartition(".")[0] == package and name in sys.modules])
"""
    told = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert told.stdout.split() == []


PACKAGES = (
    "access",
    "arena",
    "core",
    "data",
    "decoding",
    "elsewhere",
    "evaluation",
    "experiments",
    "generation",
    "interpret",
    "jobs",
    "knowledge",
    "learn",
    "maps",
    "models",
    "publish",
    "runs",
    "selection",
    "serving",
    "settings",
    "training",
    "ui",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_in_one_screen_what_it_takes_gives_and_may_not_know(package):
    folder = ROOT / "llmdemo" / package
    text = (folder / "README.md").read_text(encoding="utf-8")
    for said in ("comes in", "goes out", "may not know", "to add|add"):
        assert re.search(said, text, re.IGNORECASE), said
    named = re.findall(r"(?<![\w/.])([a-z_]+\.py)\b", text)
    known = {path.name for path in [*(ROOT / "llmdemo").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]}
    assert named and set(named) <= known
    if package not in ("settings", "training", "jobs"):
        assert len(text.splitlines()) <= 40
