"""Fetches a model repository from the Hugging Face hub, at one pinned revision, safetensors only. Imports no torch.

The only module that asks the hub for models. Fails within a second or two when the hub is not reachable.
"""

import importlib
import importlib.util
import shutil
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from llmdemo.access.disk_quota import check_quota
from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import readable_size, say
from llmdemo.core.spaces import hub_endpoint
from llmdemo.models import catalog
from llmdemo.models.check import ADAPTER, INDEX, PICKLES, check_folder
from llmdemo.settings import Settings

PROBE_SECONDS = 2.0
"""How long the first question to the hub may take; past it, the hub counts as not reachable."""
_WANTED = (
    "*.safetensors",
    "*.json",
    "*.jinja",
    "tokenizer.model",
    "merges.txt",
    "vocab.txt",
)

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


def repository_facts(repo: str, revision: str | None = None, token: str | None = None) -> tuple[str, int]:
    """(commit sha, bytes to fetch) of a repository; raises UserError when not reachable, unknown or unsafe."""
    from huggingface_hub import HfApi

    info = _ask(
        lambda: HfApi(endpoint=hub_endpoint(), token=token or False).model_info(
            repo, revision=revision, files_metadata=True, timeout=PROBE_SECONDS
        ),
        repo,
    )
    files = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    if ADAPTER in files:
        raise UserError("err_repo_adapter", repo=repo, file=ADAPTER)
    if not any(name.endswith(".safetensors") for name in files):
        held = say("held_pickle") if _has_pickle(files) else say("held_none")
        raise UserError("err_repo_holds", repo=repo, held=held)
    return info.sha, sum(size for name, size in files.items() if _wanted(name))


def fetch(
    home: store.Home,
    model_id: str,
    progress: Progress = lambda done, total: None,
    settings: Settings | None = None,
    token: str | None = None,
) -> catalog.ModelEntry:
    """Fetches hub model "org/name[@revision]" into the home folder and adds it to the catalog.

    With `settings`, within their disk quota. `token`: what the hub is shown, for a model that it gives to some only;
    without one it is shown none, whatever this computer is signed in with.

    Raises UserError when the hub is not reachable, the repository is unknown, or it may not be loaded.
    """
    if not catalog._HUB_ID.fullmatch(model_id or ""):
        raise UserError("err_no_repo", model_id=repr(str(model_id)[:80]))
    repo, _, revision = model_id.partition("@")
    target = catalog.hub_folder(home, model_id)
    if not target.is_dir():
        if settings is not None:
            check_quota(home, settings)
        sha, total = repository_facts(repo, revision or None, token)
        if store.free_bytes(home.models) < 2 * total:
            raise UserError("err_repo_space", repo=repo, size=readable_size(2 * total))
        try:
            with store.whole_folder(target, home.tmp) as folder:
                download(repo, sha, folder, total, progress, token)
                check_folder(folder)
                catalog.try_model(home, folder)
                store.write_json(folder / "origin.json", {"source": "hub", "repository": repo, "revision": sha})
        except OSError:
            if not target.is_dir():  # else another page or app was quicker
                raise
    return catalog.add_model(home, model_id)


def download(repo: str, sha: str, folder: Path, total: int, progress: Progress, token: str | None = None) -> None:
    """Downloads the wanted files of `repo` at commit `sha` into `folder`, without the hub's cache."""
    from huggingface_hub import snapshot_download

    with watch_growth(folder, total, progress):
        _ask(
            lambda: snapshot_download(
                repo,
                revision=sha,
                local_dir=folder,
                allow_patterns=list(_WANTED),
                ignore_patterns=["*/*"],
                endpoint=hub_endpoint(),
                token=token or False,
            ),
            repo,
        )
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    for index in folder.glob("*.index.json"):  # those of other variants and of pickles, which were not fetched
        if index.name != INDEX:
            index.unlink()


@contextmanager
def watch_growth(folder: Path, total: int, progress: Progress):
    """Calls progress(bytes in `folder`, total) every 0.3 s while the block, a download by others, runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.3):
            progress(min(store.folder_bytes(folder), total), total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _wanted(name: str) -> bool:
    return "/" not in name and any(Path(name).match(pattern) for pattern in _WANTED)


def _has_pickle(names) -> bool:
    return any(name.endswith(PICKLES) for name in names)


def _ask(question: Callable, repo: str):
    """The hub's answer; its many errors become sentences."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return question()
    except HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        raise _refusal(repo, code) from error
    except (*transport_errors(), OfflineModeIsEnabled, LocalEntryNotFoundError, OSError) as error:  # type: ignore[misc]
        raise UserError("err_hub_not_reached", host=hub_endpoint()) from error


def transport_errors() -> tuple[type[Exception], ...]:
    """What a failed connection raises: huggingface_hub moved from httpx to its successor httpx2."""
    modules = [importlib.import_module(name) for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
    return tuple(module.HTTPError for module in modules)


def _refusal(repo: str, code: int) -> UserError:
    known = "err_no_public_repo" if code in (401, 403, 404) else "err_hub_http"
    return UserError(known, repo=repo, code=code)
