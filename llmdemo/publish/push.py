"""Sends a folder of files to a model repository on the Hugging Face hub. The only module that writes to the hub.

The visitor's token is used for this and forgotten: it is in no file, no log and no message. What the hub already has
is not sent again, so that a push that broke off goes on where it was.
"""

import io
import logging
import re
from collections.abc import Callable
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import Sentence, readable_size, say
from llmdemo.core.spaces import hub_endpoint
from llmdemo.jobs.worker import Stopped
from llmdemo.models.hub import transport_errors

SPACE = "space"
MARKER = "llmdemo-run.json"
"""The file that says which run a repository was made from; a push goes on only in a repository of the same run."""
_NAME = re.compile(r"([\w.-]{1,96}/)?[\w.-]{1,96}")
_TOKEN = re.compile(r"[\x21-\x7e]{8,512}")
log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called with (bytes sent, bytes in all, the file that is being sent)."""


def push(
    files: dict[str, Path | bytes],
    repo: str,
    token: str,
    *,
    private: bool = True,
    kind: str = "model",
    message: str = "Model trained with llmdemo",
    progress: Progress = lambda sent, total, name: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict:
    """Sends `files` {name in the repository: path or content} to `repo` ("name" or "owner/name"); makes it when new.

    kind: model, or space for a Space with Gradio.

    Returns {"repo", "url", "revision"}. Raises UserError: token wrong or expired, name taken, a repository that is
    public where `private` was asked, no connection; Stopped. `files` must hold MARKER. The visibility of a repository
    that is there already is never changed.
    """
    api = hub_api(token)
    repo = _whole_name(api, repo)
    _make(api, repo, private, files[MARKER], kind)
    from huggingface_hub import CommitOperationAdd

    sizes = {name: len(file) if isinstance(file, bytes) else file.stat().st_size for name, file in files.items()}
    watch = _Watch(sum(sizes.values()), progress, should_stop)
    operations: list[CommitOperationAdd] = []
    opened: list[_Counting] = []
    try:
        for name, file in files.items():
            if isinstance(file, Path):
                opened.append(_Counting(file, watch))
            operations.append(CommitOperationAdd(name, opened[-1] if isinstance(file, Path) else file))
        for operation in operations:
            watch.begin(operation.path_in_repo, sizes[operation.path_in_repo])
            _ask(lambda operation=operation: api.preupload_lfs_files(repo, [operation], repo_type=kind), repo, watch)
            watch.end()
        made = _ask(lambda: api.create_commit(repo, operations, commit_message=message, repo_type=kind), repo, watch)
    finally:
        for each in opened:
            each.close()
    below = "spaces/" if kind == SPACE else ""
    return {"repo": repo, "url": f"{hub_endpoint()}/{below}{repo}", "revision": made.oid}


def hub_api(token: str):
    """The hub's client with this token. Raises UserError for what is no token."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    logging.getLogger("huggingface_hub._commit_api").setLevel(logging.ERROR)  # it warns of what _Counting is for
    if not isinstance(token, str) or not _TOKEN.fullmatch(token.strip()):
        raise UserError("err_no_access_token")
    return HfApi(endpoint=hub_endpoint(), token=token.strip())


def _whole_name(api, repo: str) -> str:
    """ "owner/name"; an owner that is not given is the token's."""
    if not isinstance(repo, str) or not _NAME.fullmatch(repo) or ".." in repo or "--" in repo:
        raise UserError("err_repo_name", repo=repr(str(repo)[:80]))
    me = _ask(api.whoami, repo)
    return repo if "/" in repo else f"{me['name']}/{repo}"


def _make(api, repo: str, private: bool, marker: Path | bytes, kind: str) -> None:
    """Makes the repository, or makes sure that the one that is there is of the same run and no more public than asked."""
    from huggingface_hub.errors import HfHubHTTPError

    def make():
        try:
            api.create_repo(repo, private=private, repo_type=kind, space_sdk="gradio" if kind == SPACE else None)
        except HfHubHTTPError as error:
            if error.response is None or error.response.status_code != 409:
                raise
            if not _is_ours(api, repo, marker if isinstance(marker, bytes) else marker.read_bytes(), kind):
                raise UserError("err_repo_taken", repo=repo) from error
            if private and api.repo_info(repo, repo_type=kind).private is not True:
                raise UserError("err_repo_public", repo=repo) from error

    _ask(make, repo)


def _is_ours(api, repo: str, marker: bytes, kind: str) -> bool:
    """Whether nothing is in the repository yet (a push that broke off), or this very run. A new Space has a README."""
    begun = {".gitattributes", "README.md"} if kind == SPACE else {".gitattributes"}
    names = set(api.list_repo_files(repo, repo_type=kind)) - begun
    if not names:
        return True
    if MARKER not in names:
        return False
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return Path(api.hf_hub_download(repo, MARKER, local_dir=folder, repo_type=kind)).read_bytes() == marker


class _Watch:
    """Counts what has been sent, tells of it, and breaks off where that is wanted."""

    def __init__(self, total: int, progress: Progress, should_stop: Callable[[], bool]):
        self._total, self._progress, self._should_stop = total, progress, should_stop
        self._done, self._sent, self._size, self._name = 0, 0, 0, ""

    def begin(self, name: str, size: int) -> None:
        self._name, self._size, self._sent = name, size, 0
        self.check()
        self._progress(self._done, self._total, name)

    def end(self) -> None:
        """The file is there: sent now, or long ago."""
        self._done += self._size
        self._progress(self._done, self._total, self._name)

    def at(self, position: int) -> None:
        self.check()
        if abs(position - self._sent) >= 2**18:
            self._sent = position
            self._progress(self._done + min(position, self._size), self._total, self._name)

    def check(self) -> None:
        if self._should_stop():
            raise Stopped

    def sent(self) -> Sentence:
        """How much of the files was sent before."""
        return say("push_after", done=readable_size(self._done), total=readable_size(self._total))


class _Counting(io.BufferedReader):
    """A file that tells how far it has been read. Given as a file object, it goes through the hub's plain HTTP upload,
    which can say so; the client's faster path for paths cannot."""

    def __init__(self, path: Path, watch: _Watch):
        super().__init__(io.FileIO(path))
        self._watch = watch

    def read(self, size=-1, /):
        data = super().read(size)
        self._watch.at(self.tell())
        return data


def _ask(question: Callable, repo: str, watch: _Watch | None = None):
    """The hub's answer; its many errors become sentences without the token."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return question()
    except Exception as error:  # sorted out below; what is none of the hub's or the network's goes on
        causes = causes_of(error)
        for cause in causes:
            if isinstance(cause, (UserError, Stopped)):
                raise cause from None
            if isinstance(cause, HfHubHTTPError):
                code = cause.response.status_code if cause.response is not None else 0
                log.warning("push to %s: HTTP %s", repo, code)
                raise _refusal(repo, code) from None
        if any(isinstance(cause, (*transport_errors(), OSError)) for cause in causes):
            log.warning("push to %s: %s", repo, type(error).__name__)
            sent = watch.sent() if watch else ""
            raise UserError("err_push_broke", host=hub_endpoint(), sent=sent) from None
        raise


def causes_of(error: BaseException | None) -> list[BaseException]:
    """The error and what it was raised from, the newest first."""
    chain: list[BaseException] = []
    while error is not None and len(chain) < 20:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _refusal(repo: str, code: int) -> UserError:
    keys = {401: "err_push_unknown_token", 403: "err_push_may_not", 404: "err_push_no_place"}
    keys |= dict.fromkeys((413, 507), "err_push_no_room")
    return UserError(keys.get(code, "err_push_http"), repo=repo, code=code)
