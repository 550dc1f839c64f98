"""A finished model as a folder that runs alone: app.py with a chat page (or a classifier's), what it needs, the model.

The same folder is a Hugging Face Space. Knows no hub.
"""

import json
import re
import zipfile
from importlib.metadata import version
from pathlib import Path

from llmdemo.models.catalog import ModelEntry
from llmdemo.publish.portable import mended

_HERE = Path(__file__).resolve().parent
_NOT_SENT = ("origin.json",)
"""It tells where the model lies on this computer."""
_PYTHON = "3.12"


def app_files(entry: ModelEntry, title: str, licence: str = "") -> dict[str, bytes]:
    """{name: content} of what stands beside the model: app.py, requirements.txt, README.md with a Space's front matter."""
    title = _plain(title)
    template = "space_app.py.txt" if entry.writes else "space_classifier.py.txt"
    temperature = 0.0 if entry.task != "text" else 0.8
    app = (_HERE / template).read_text(encoding="utf-8").format(title=title, temperature=temperature)
    needs = [f"{name}=={_release(name)}" for name in ("transformers", "gradio")] + ["torch", "safetensors"]
    front = {
        "title": title,
        "sdk": "gradio",
        "sdk_version": _release("gradio"),
        "python_version": _PYTHON,
        "app_file": "app.py",
        "pinned": False,
        **({"license": licence} if licence else {}),
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in front.items()]
    about = f"# {title}\n\nThe model is in model/. Here, or on a computer of your own:\n\n"
    about += "    pip install -r requirements.txt && python app.py\n"
    readme = "\n".join(["---", *lines, "---", about])
    return {"app.py": app.encode(), "requirements.txt": "\n".join([*needs, ""]).encode(), "README.md": readme.encode()}


def model_files(folder: Path, below: str = "") -> dict[str, Path | bytes]:
    """{name: path or content} of the model's files, below a folder of this name: those that older servers would read wrongly
    as portable.mended has them."""
    files: dict[str, Path | bytes] = {
        f"{below}{path.name}": path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in _NOT_SENT
    }
    return files | {f"{below}{name}": content for name, content in mended(folder).items()}


def packed(entry: ModelEntry, title: str, target: Path) -> Path:
    """Writes the whole folder as `target`, a .zip that is stored, not packed: weights do not get smaller."""
    assert entry.path is not None, "a resolved model has a folder"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        name = target.stem
        for inside, file in {**app_files(entry, title), **model_files(entry.path, "model/")}.items():
            if isinstance(file, Path):
                archive.write(file, f"{name}/{inside}")
            else:
                archive.writestr(f"{name}/{inside}", file)
    return target


def file_name(title: str) -> str:
    """A name for the folder, from what the run is called."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-.")[:48] or "model"


def _plain(title: str) -> str:
    """A title that may stand in Python, YAML and Markdown: one line of letters, digits and a few signs."""
    return re.sub(r"[^\w .,:()+-]+", " ", title).strip()[:80] or "A tuned model"


def _release(name: str) -> str:
    """A package's version here, without what a build of one's own adds to it."""
    return version(name).partition("+")[0]
