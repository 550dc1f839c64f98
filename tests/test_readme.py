"""What the README says is so: front matter, commands, settings, pictures, and figures with their commands."""

import ast
import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import yaml

from llmdemo.models import starter
from llmdemo.settings import Settings
from llmdemo.settings.tables import tables

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FRONT = yaml.safe_load(README.split("---")[1])


def test_the_space_gets_a_gradio_that_is_allowed():
    wanted = re.search(r"^gradio(?:\[mcp\])?>=([\d.]+),<7", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert FRONT["sdk"] == "gradio" and FRONT["sdk_version"].startswith(wanted.group(1))
    assert FRONT["python_version"] == "3.12" and FRONT["app_file"] == "app.py" and FRONT["license"] == "apache-2.0"


def test_the_space_preloads_the_starter_at_its_pinned_revision():
    assert FRONT["models"] == [starter.REPOSITORY]
    assert FRONT["preload_from_hub"][0].startswith(f"{starter.REPOSITORY} ")
    assert FRONT["preload_from_hub"][0].endswith(f" {starter.REVISION}")


def test_ci_runs_the_readmes_commands_word_for_word():
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    run, test = re.findall(r"```bash\n(.+?)\n```", README)[:2]
    assert run.split(" && ") == ["pip install -r requirements.txt", "python app.py"]
    assert "pip install -r requirements.txt" in ci and test in ci


def test_the_tables_of_settings_are_those_of_the_schemas():
    text = (ROOT / "llmdemo" / "settings" / "README.md").read_text(encoding="utf-8")
    assert text.endswith(tables()), "make them anew: python -m llmdemo.settings"
    assert all(f"`LLMDEMO_{field.name.upper()}`" in text for field in fields(Settings))


def test_the_readme_can_be_read_in_five_minutes():
    assert len(README.split()) <= 1200


def test_every_picture_and_script_that_is_named_exists():
    for name in re.findall(r"\]\(([.\w][^):]+)\)", README) + re.findall(r"tests/[\w/]+\.py", README):
        assert (ROOT / name).is_file(), name


def test_every_script_of_the_benchmark_log_exists():
    folder = ROOT / "tests" / "benchmarks"
    named = re.findall(r"`(\w+\.py)", (folder / "README.md").read_text(encoding="utf-8"))
    assert len(named) > 20 and [name for name in named if not (folder / name).is_file()] == []


def test_what_the_benchmarks_import_of_the_app_exists():
    for path in sorted((ROOT / "tests" / "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("llmdemo"):
                for name in node.names:
                    found = hasattr(importlib.import_module(node.module), name.name)
                    assert found or importlib.util.find_spec(f"{node.module}.{name.name}"), (path.name, name.name)


def test_the_tree_names_what_there_is():
    tree = README.split("## The house")[1].split("```")[1]
    packages = {path.name for path in (ROOT / "llmdemo").iterdir() if path.name not in ("__pycache__", "__init__.py")}
    for name in packages:
        assert name in tree, name


def test_the_top_level_holds_nothing_else():
    allowed = {"app.py", "llmdemo", "tests", "assets", "requirements.txt", "README.md", "LICENSE", "pyproject.toml"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".") and path.name != "__pycache__"}
    assert found <= allowed, found - allowed
