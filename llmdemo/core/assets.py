"""Where the page's scripts, styles, words and the sample data are: beside the package in a checkout, inside it when installed."""

from importlib import resources
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[2] / "assets"
FOLDER = _BESIDE if _BESIDE.is_dir() else Path(str(resources.files("llmdemo") / "assets"))
