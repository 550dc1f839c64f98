"""Data sets on their way in, for the data panel's script: each is read in a thread, and the page asks how far it is. JSON
in, JSON out; knows no widget.

A page that is closed meanwhile ends nothing: what it has sent is added all the same.
"""

import contextvars
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.data.columns import TASK_ROLES
from llmdemo.data.hub import add_from_hub
from llmdemo.models import catalog
from llmdemo.ui import bridge
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import SAMPLE_NAME, add_sample, starter_tokenizer, tokenizer_of_ids
from llmdemo.ui.services import Services
from llmdemo.ui.uploads import name_of, uploaded

_AT_ONCE = 2
"""Reading is work for the CPU; more would only make each slower."""
_WAIT_SECONDS = 1.0
"""An answer waits so long for news."""
_MOST_ENDED = 64
"""How many are remembered after their end, for a page that has yet to ask, or to name their columns."""

Call = Callable[[Callable[..., None], Callable[[], bool]], data.DatasetInfo]
"""`call(progress, should_stop)` adds a data set; progress(share from 0 to 1 or None, what is being done)."""


@dataclass
class _Job:
    """One data set on its way in; `paths` or `hub` is what it is read from, to be read again with columns named."""

    name: str
    paths: list[str] | None = None
    hub: dict | None = None
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    news: int = 0
    share: float | None = None
    what: str = ""
    end: dict[str, Any] | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def state(self) -> dict[str, Any]:
        """What `AddingPages.added` answers."""
        return {"key": self.key, "name": self.name, "news": self.news, "share": self.share, "what": self.what} | (
            self.end or {}
        )


class AddingPages:
    """The functions behind the island "data-adding", over one installation's data sets."""

    def __init__(self, services: Services):
        self._services = services
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._changed = threading.Condition()
        self._reading = 0

    def functions(self) -> list:
        """Those that the script may call."""
        return [self.add_files, self.add_sample, self.add_mapped, self.added, self.stop]

    @for_owners
    def add_files(self, request: dict) -> dict:
        """Begins to read `paths`, which were uploaded, as one data set; answers as `added` does."""
        paths = request.get("paths")
        if not isinstance(paths, list) or not paths:
            raise UserError("err_no_upload")
        return self._read_files([str(uploaded({"path": path})[0]) for path in paths]).state()

    @for_owners
    def add_sample(self, _: dict) -> dict:
        """Begins to add the sample; answers as `added` does."""
        return self._begin(_Job(SAMPLE_NAME), lambda *watch: add_sample(self._services, *watch)).state()

    @for_owners
    def add_mapped(self, request: dict) -> dict:
        """Begins to read once more what `key` could not read, with `columns` {role: column} and `task` named by the person;
        answers as `added` does."""
        job = self._job(request)
        how = {"columns": request.get("columns"), "task": request.get("task")}
        if job.hub is not None:
            return self.begin_hub(job.hub, **how)
        return self._read_files(job.paths or [], **how).state()

    @for_owners
    def added(self, request: dict) -> dict:
        """How far `key` is, as soon as that is not `news` any more: {"key", "name", "news", "share", "what"}, at its end with one of

        "dataset_id"; "stopped"; "error" {message, hint}; "ask" {columns, guess, task, roles}, beside "error", where the person has
        to say which column is what.
        """
        job = self._job(request)
        with self._changed:
            self._changed.wait_for(lambda: job.end is not None or job.news != request.get("news"), _WAIT_SECONDS)
            return job.state()

    @for_owners
    def stop(self, request: dict) -> dict:
        """Ends `key`, of which nothing is left then, unless it was just finished; at once where its turn has not come."""
        job = self._job(request)
        with self._changed:
            job.stop.set()
            self._changed.notify_all()
        return {}

    def begin_hub(self, asked: dict, **how: Any) -> dict:
        """Begins to fetch from the hub; `asked`: preset, name (which goes before the preset), config, split, limit. Answers as
        `added` does; of what is on its way already, as when the button is pressed twice, how far that is."""
        with self._changed:
            for job in self._jobs.values():
                if job.hub == asked and job.end is None and not how:
                    return job.state()

        def text(key: str) -> str:
            return str(asked.get(key) or "").strip()[:200]

        services, hub_id = self._services, text("name") or text("preset")

        def call(progress, should_stop):
            return add_from_hub(
                services.home,
                services.settings,
                hub_id,
                config=text("config") or None,
                split=text("split") or None,
                row_limit=int(asked.get("limit") or 0),
                tokenizer=starter_tokenizer(services),
                progress=progress,
                should_stop=should_stop,
                **how,
            )

        return self._begin(_Job(hub_id, hub=asked), call).state()

    def _read_files(self, paths: list[str], **how: Any) -> _Job:
        services, name = self._services, name_of([Path(path).name for path in paths])
        columns = how.get("columns")
        made_with = str(columns.get("tokenizer") or "") if isinstance(columns, dict) else ""
        if made_with:  # of token ids nothing else is asked
            how = {**how, "columns": None}

        def call(progress, should_stop):
            return data.add_dataset(
                services.home,
                services.settings,
                paths,
                name,
                tokenizer=starter_tokenizer(services),
                made_with=tokenizer_of_ids(services, made_with),
                progress=progress,
                should_stop=should_stop,
                **how,
            )

        return self._begin(_Job(name, paths=paths), call)

    # ---- the work

    def _begin(self, job: _Job, call: Call) -> _Job:
        with self._changed:
            self._jobs[job.key] = job
            ended = [key for key, each in self._jobs.items() if each.end is not None]
            for key in ended[:-_MOST_ENDED]:
                del self._jobs[key]
        context = contextvars.copy_context()  # who asked is known in the thread too
        threading.Thread(target=context.run, args=(self._work, job, call), name="add data", daemon=True).start()
        return job

    def _work(self, job: _Job, call: Call) -> None:
        def progress(share: float | None, what: str = "") -> None:
            self._tell(job, share=share, what=what)

        try:
            with self._turn(job):
                self._services.require_owner()
                end: dict[str, Any] = {"dataset_id": call(progress, job.stop.is_set).dataset_id}
        except data.Stopped:
            end = {"stopped": True}
        except data.ColumnsNeeded as needed:
            roles = TASK_ROLES | {"chat": (*TASK_ROLES["chat"], *_optional(needed.guess))}
            end = {"ask": {"columns": needed.columns, "guess": needed.guess, "task": needed.task, "roles": roles}}
            end["error"] = bridge.sentence(needed)
        except data.TokenizerNeeded as needed:
            end = {"ask": self._whose_tokens(), "error": bridge.sentence(needed)}
        except Exception as error:  # the boundary to the page
            end = {"error": bridge.sentence(error)}
        self._tell(job, end=end)

    @contextmanager
    def _turn(self, job: _Job) -> Iterator[None]:
        """Waits until fewer than _AT_ONCE others are read; raises Stopped where the job is stopped before."""
        with self._changed:
            self._changed.wait_for(lambda: job.stop.is_set() or self._reading < _AT_ONCE)
            if job.stop.is_set():
                raise data.Stopped()
            self._reading += 1
        try:
            yield
        finally:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()

    def _whose_tokens(self) -> dict[str, Any]:
        """The form that asks which model's tokenizer has made token ids."""
        models = [model.id for model in catalog.list_models(self._services.home)]
        guess = {"tokenizer": "starter"} if "starter" in models else {}
        return {"columns": models, "guess": guess, "task": "text", "roles": {"text": ("tokenizer",)}}

    def _tell(self, job: _Job, **news: Any) -> None:
        with self._changed:
            for name, value in news.items():
                setattr(job, name, value)
            job.news += 1
            self._changed.notify_all()

    def _job(self, request: dict) -> _Job:
        job = self._jobs.get(str(request.get("key")))
        if job is None:
            raise UserError("err_adding_unknown")
        return job


def _optional(guess: dict[str, str]) -> Sequence[str]:
    """Roles beyond those that a conversation needs, where the file seems to have them."""
    return [role for role in ("desired",) if role in guess]
