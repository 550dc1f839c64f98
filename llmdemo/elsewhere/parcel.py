"""What a job elsewhere is sent: the app's package, the run's settings, its data sets, and a model that is only here.

A model of the hub and the starter are fetched there. Knows no hub.
"""

import io
import json
import zipfile
from pathlib import Path

from llmdemo.core import assets
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home, child
from llmdemo.models import catalog
from llmdemo.publish.push import MARKER

APP, ASK, DATA, MODELS = "input/app.zip", "input/ask.json", "input/datasets", "input/models"
BOOT = """
import os, subprocess, sys, zipfile
from huggingface_hub import snapshot_download
work = snapshot_download(os.environ["LLMDEMO_REPO"], allow_patterns="input/*", local_dir=os.environ.get("LLMDEMO_WORK", "/tmp/llmdemo"))
zipfile.ZipFile(work + "/input/app.zip").extractall(work + "/app")
sys.exit(subprocess.call([sys.executable, "-m", "llmdemo.elsewhere.remote", work], env=dict(os.environ, PYTHONPATH=work + "/app")))
"""
"""All that the job's command itself says: it fetches what was sent, and leaves the rest to remote.py."""
_PACKAGE = Path(__file__).resolve().parents[1]
_MODEL_KEYS = ("model_id", "tokenizer_from")
_DATA_KEYS = ("dataset_id", "replay_dataset_id", "forgetting_dataset_id")
_OF_THE_PAGE = ("gradio", "authlib", "itsdangerous", "segno", "prometheus", "llguidance", "rensa", "py3langid")
_OWN = ("data-",)
_OF_A_MODEL = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""A model folder of the hub's own cache consists of links to such files."""


def requirements() -> list[str]:
    """The packages that training needs, as this installation asks for them."""
    lines = (_PACKAGE.parent / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.partition("#")[0].strip() for line in lines]
    return [line for line in wanted if line and not line.startswith(_OF_THE_PAGE)]


def command() -> list[str]:
    """What the job runs."""
    packages = [word for package in requirements() for word in ("--with", package)]
    return ["uv", "run", "--no-project", *packages, "python", "-c", BOOT]


def sources(home: Home, config: dict) -> dict[str, dict]:
    """{key of the settings: {"kind": "sent" | "starter" | "hub", "id"}} of the models that the run starts from."""
    found = {}
    for key in _MODEL_KEYS:
        model_id = str(config.get(key) or "")
        if not model_id or (key == "model_id" and config.get("task") == "pretrain"):
            continue
        if model_id == catalog.STARTER_ID:
            found[key] = {"kind": "starter", "id": model_id}
        elif catalog.as_path(model_id) is None and "/" in model_id:
            found[key] = {"kind": "hub", "id": _at_revision(home, model_id)}
        else:
            found[key] = {"kind": "sent", "id": model_id}
    return found


def _at_revision(home: Home, model_id: str) -> str:
    """The model as it is here: the same commit is fetched there."""
    try:
        revision = catalog.resolve(home, model_id).revision
    except UserError:
        return model_id  # it is only there
    return f"{model_id.partition('@')[0]}@{revision}" if revision else model_id


def files(home: Home, run_id: str, config: dict, seconds: int) -> dict[str, Path | bytes]:
    """{name in the repository: content} of all that the job needs. Raises UserError for what is not here any more."""
    models = sources(home, config)
    ask = {"run_id": run_id, "config": config, "models": models, "seconds": seconds}
    parcel: dict[str, Path | bytes] = {
        MARKER: json.dumps({"run": run_id}).encode(),
        APP: app(),
        ASK: json.dumps(ask, ensure_ascii=False).encode(),
    }
    for key, model in models.items():
        if model["kind"] == "sent":
            parcel |= _below(catalog.resolve(home, model["id"]).path, f"{MODELS}/{key}", through_links=_OF_A_MODEL)
    for dataset_id in {str(config.get(key) or "") for key in _DATA_KEYS}:
        if dataset_id.startswith(_OWN):
            parcel |= _below(child(home.datasets, dataset_id), f"{DATA}/{dataset_id}")
    return parcel


def _below(folder: Path | None, name: str, through_links: tuple[str, ...] = ()) -> dict[str, Path | bytes]:
    """The files below `folder`; what a link leads to only where its name ends with one of `through_links`."""
    if folder is None or not folder.is_dir():
        raise UserError("err_elsewhere_not_here", name=name.rpartition("/")[2])
    return {
        f"{name}/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and (not path.is_symlink() or path.name.endswith(through_links))
    }


def app() -> bytes:
    """The app's package as a .zip: code, words and the sample, without what the page alone needs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(_PACKAGE.rglob("*")):
            if path.suffix in (".py", ".json") and path.is_file():
                _add(packed, path, f"llmdemo/{path.relative_to(_PACKAGE).as_posix()}")
        for path in [*sorted((assets.FOLDER / "words").glob("*.json")), assets.FOLDER / "sample-messages.json"]:
            _add(packed, path, f"assets/{path.relative_to(assets.FOLDER).as_posix()}")
    return content.getvalue()


def _add(packed: zipfile.ZipFile, path: Path, name: str) -> None:
    """With a fixed time, so that the same files make the same bytes, which are not sent twice."""
    packed.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
