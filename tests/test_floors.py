"""Versions with known holes are not installed: the floors below, and pip-audit's own data where it can be reached (run.py)."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests import audit

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "gradio": "6.31.0",  # reads of files, requests to other hosts, forged logins in earlier ones
    "python-multipart": "0.0.31",  # denial of service by a form
    "transformers": "5.10.4",  # code that runs while a model is converted or loaded
    "torch": "2.6.0",  # torch.load(weights_only=True) ran code (CVE-2025-32434)
}


@pytest.mark.parametrize("name", FLOORS)
def test_nothing_below_its_security_floor_is_installed(name):
    assert Version(version(name)) >= Version(FLOORS[name])


def test_the_requirements_cannot_bring_anything_below_its_floor():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = {entry.name: entry for line in lines if (entry := _requirement(line))}
    for name in FLOORS.keys() & wanted.keys():
        below = f"{Version(FLOORS[name]).major}.{max(0, Version(FLOORS[name]).minor - 1)}.0"
        assert not wanted[name].specifier.contains(below), name


def _requirement(line: str) -> Requirement | None:
    text = re.sub(r"\s*#.*", "", line).strip()
    return Requirement(text) if text else None


def test_the_audit_counts_holes_that_can_be_closed_and_passes_where_it_cannot_ask(capsys):
    hole = {"id": "CVE-1", "fix_versions": ["2.0"]}
    report = {
        "dependencies": [
            {"name": "gradio", "version": "1.0", "vulns": [hole, {"id": "CVE-2", "fix_versions": []}]},
            {"name": "pip", "version": "1.0", "vulns": [hole]},
            {"name": "other", "skip_reason": "not on PyPI", "version": "0"},
        ]
    }
    assert audit.holes(report) == ["gradio 1.0: CVE-1, closed in 2.0"]
    assert audit.unreachable("no network") == 0 and "cannot be reached" in capsys.readouterr().out
