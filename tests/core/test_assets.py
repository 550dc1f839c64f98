"""The page's files are found in a checkout, and in an installed wheel that holds them."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from llmdemo.core import assets

ROOT = Path(__file__).resolve().parents[2]
_SAYS = "from llmdemo.core import assets; from llmdemo.ui import words; print(assets.FOLDER, words.say('title'))"


def test_a_checkout_uses_its_own_assets():
    assert assets.FOLDER == ROOT / "assets" and (assets.FOLDER / "words" / "en.json").is_file()


@pytest.mark.slow
def test_a_wheel_holds_every_asset_and_finds_them(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    tracked = subprocess.run(["git", "ls-files", "assets"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    missing = [name for name in tracked.splitlines() if not (installed / "llmdemo" / name).is_file()]
    assert tracked and missing == []
    said = subprocess.run(
        [sys.executable, "-c", _SAYS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert said.split(maxsplit=1) == [str(installed / "llmdemo" / "assets"), "Tune & Decode\n"]
