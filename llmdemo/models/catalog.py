"""Which models there are: the starter, finished runs, folders and hub repositories that were added. Imports no torch.

Knows nothing of loading. An id is "starter", a run's id (with @last: its last step's weights; with @STEP: those of
a kept step), an absolute folder, or "org/name" with an optional "@revision".
"""

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.models import steps
from llmdemo.models.check import check_folder
from llmdemo.models.files import read_object
from llmdemo.models.trial import require_tried, trust

STARTER_ID = "starter"
LAST_MODEL, _LAST = "model-last", "@last"
"""The folder of a run's last weights where its model is not made of them, and how an id names them."""
STARTER_TITLE = "SmolLM2-135M-Instruct"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(@[\w./-]{1,100})?")
_AT_STEP = re.compile(r"(run-[\w-]+)@(\d{1,7})")
_BEGAN = re.compile(r"run-(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)")


@dataclass(frozen=True)
class ModelEntry:
    """One line of the model menu."""

    id: str
    title: str
    kind: str
    """starter, run, folder or hub."""
    path: Path | None
    """Folder of the weights; None until they are fetched."""
    revision: str = ""
    """The commit that is loaded, for hub models and the starter."""
    parameters: int = 0
    bytes: int = 0
    context: int = 0
    """Longest sequence, in tokens; 0 if unknown."""
    ready: bool = True
    note: str = ""
    task: str = "chat"
    """What it was tuned for (chat, text, preference, classify); encode: an encoder without a head for any of these."""
    at_step: int | None = None
    """The kept step of a run whose weights are not written out; `path` is the folder of the run's finished model."""

    @property
    def writes(self) -> bool:
        """Whether it goes on writing a text: a causal language model."""
        return self.task not in ("classify", "encode", "reward")

    def to_dict(self) -> dict:
        """JSON-able; the id comes first."""
        values = {**asdict(self), "path": str(self.path) if self.path else None, "writes": self.writes}
        return {key: value for key, value in values.items() if key != "at_step"}


def starter_folder(home: store.Home) -> Path:
    return home.models / STARTER_ID


def list_models(home: store.Home) -> list[ModelEntry]:
    """The starter first, then finished runs (newest first), then what was added. Broken folders are left out."""
    entries = [_starter_in_menu(home), *_runs(home)]
    for model_id in _added(home):
        try:
            entries.append(_look_up(home, model_id))
        except UserError:
            continue  # the folder has gone since; it is asked for again by name when wanted
    return entries


def resolve(home: store.Home, model_id: str) -> ModelEntry:
    """The model with this id; raises UserError unless it is known, whole and safe to load.

    A hub id is resolved to what was already fetched (models.hub.fetch adds it); no network here. A folder that nobody has
    asked for before is tried in a process of its own, which takes a second or two.
    """
    entry = _look_up(home, model_id)
    if entry.path is not None:
        try_model(home, entry.path)
    return entry


def title_of(home: store.Home, model_id: str) -> str:
    """What a model is called, or its id where it is gone."""
    try:
        return resolve(home, model_id).title
    except UserError:
        return model_id


def resolve_in_memory(home: store.Home, model_id: str) -> ModelEntry:
    """As `resolve`, but RUN@STEP gets no folder: its entry, with `at_step`, is for models/step_models.py only."""
    at = _AT_STEP.fullmatch(model_id.strip()) if isinstance(model_id, str) else None
    if at is None:
        return resolve(home, model_id)
    last, step = resolve(home, at[1]), int(at[2])
    steps.check_kept(store.child(home.runs, at[1]), step)
    return replace(last, id=f"{at[1]}@{step}", title=f"{last.title} @{step}", at_step=step)


def try_model(home: store.Home, folder: Path) -> None:
    """Raises UserError unless what the folder holds beside its weights reads within the limits of trial.py."""
    try:
        require_tried(folder, home.models / ".tried")
    except OSError as error:
        raise UserError(
            "err_folder_unreadable", folder=repr(folder.name[:80]), reason=error.strerror or error
        ) from error


def trust_model(home: store.Home, folder: Path) -> None:
    """Has a folder that this app made of a model it had tried, or fetched by its hash, skip the trial."""
    trust(folder, home.models / ".tried")


def _look_up(home: store.Home, model_id: str) -> ModelEntry:
    """The model with this id as its weights and its config tell, which is quickly done."""
    if not isinstance(model_id, str) or not model_id.strip() or "\0" in model_id:
        raise UserError("err_no_model")
    model_id = model_id.strip()
    if model_id == STARTER_ID:
        return _require_ready(_starter(home))
    if model_id.startswith("run-"):
        return _run(home, model_id)
    if as_path(model_id) is not None:
        return _folder(home, model_id)
    if _HUB_ID.fullmatch(model_id):
        return _hub(home, model_id)
    raise UserError("err_no_model_of_name", model_id=repr(model_id[:80]))


def add_model(home: store.Home, model_id: str) -> ModelEntry:
    """Remembers a folder or a fetched hub model, so that the menu shows it. Raises as `resolve` does."""
    entry = resolve(home, model_id)
    if entry.kind in ("folder", "hub"):
        with store.locked(home.models / "added.lock"):
            known = _added(home)
            if entry.id not in known:
                store.write_json(home.models / "added.json", [*known, entry.id])
    return entry


def hub_folder(home: store.Home, model_id: str) -> Path:
    """Where the files of hub model "org/name[@revision]" are kept."""
    return home.models / ("hub--" + re.sub(r"[/@]", "--", model_id))


def as_path(text: str) -> Path | None:
    """The place on this computer that this text names; None for anything but an absolute path."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        return None  # the home folder of somebody who is not known here
    return path if path.is_absolute() else None


def is_open(home: store.Home, path: Path) -> bool:
    """Whether the file or folder, wherever its links lead, lies in a folder that people may choose from."""
    if home.model_roots is None:
        return True
    try:
        real = path.resolve()
    except (OSError, RuntimeError):
        return False
    return any(real.is_relative_to(root) for root in home.model_roots)


def require_open(home: store.Home, model_id: str) -> None:
    """Raises UserError for the id of a model folder that nobody may choose; the model itself is not looked at."""
    folder = as_path(model_id)
    if folder is not None and not is_open(home, folder) and str(folder) not in _added(home):
        raise UserError("err_folders_not_open")


def _added(home: store.Home) -> list[str]:
    try:
        known = store.read_json(home.models / "added.json")
    except (OSError, ValueError, RecursionError):
        return []
    return [model_id for model_id in known if isinstance(model_id, str)] if isinstance(known, list) else []


def _origin(folder: Path) -> dict:
    try:
        return read_object(folder / "origin.json", 2**20)
    except (OSError, UserError):
        return {}


def _plain(value) -> str:
    """A text that every page can be sent: short, and without halves of a surrogate pair."""
    return str(value)[:200].encode("utf-8", "replace").decode()


def _entry(model_id: str, title: str, kind: str, folder: Path, note: str = "") -> ModelEntry:
    facts, origin = check_folder(folder), _origin(folder)
    return ModelEntry(
        id=model_id,
        title=title,
        kind=kind,
        path=folder,
        revision=_plain(origin.get("revision", "")),
        parameters=facts.parameters,
        bytes=facts.bytes,
        context=facts.context,
        note=note,
        task=_task(facts.head, str(origin.get("task", ""))),
    )


def _task(head: str, said: str) -> str:
    """The head that the weights have decides; a folder's own word counts only between tasks that share the head."""
    if head == "classify" and said == "reward":
        return "reward"
    if head != "write":
        return head
    return {"text": "text", "pretrain": "text", "preference": "preference"}.get(said, "chat")


def _starter(home: store.Home) -> ModelEntry:
    folder = starter_folder(home)
    if _is_there(folder):
        return _entry(STARTER_ID, STARTER_TITLE, "starter", folder, _plain(_origin(folder).get("source", "")))
    return ModelEntry(STARTER_ID, STARTER_TITLE, "starter", None, ready=False, note=say("model_note_not_fetched"))


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:
        return True  # it is, but may not be looked at: check_folder says so


def _starter_in_menu(home: store.Home) -> ModelEntry:
    """A starter that was damaged must not take the menu away; who asks for it by its id is told what is wrong."""
    try:
        return _starter(home)
    except UserError as error:
        return ModelEntry(STARTER_ID, STARTER_TITLE, "starter", None, ready=False, note=error.message)


def _require_ready(entry: ModelEntry) -> ModelEntry:
    if not entry.ready:
        raise UserError("err_model_not_here", title=entry.title)
    return entry


def _runs(home: store.Home) -> list[ModelEntry]:
    entries = []
    found = [folder for name in ("model", LAST_MODEL) for folder in home.runs.glob(f"run-*/{name}")]
    newest = sorted(sorted(found), key=lambda folder: folder.parent.name, reverse=True)
    for folder in newest:
        try:
            entries.append(_run(home, folder.parent.name + (_LAST if folder.name == LAST_MODEL else "")))
        except UserError:
            continue  # a run whose model is being written or was damaged is no choice for the menu
    return entries


def _at_step(home: store.Home, run_id: str, step: int) -> ModelEntry:
    """The model of a finished run at a kept step, put together where nobody asked for it before. Raises UserError."""
    last = _run(home, run_id)
    folder = steps.made_at(store.child(home.runs, run_id), step)
    trust_model(home, folder)
    return _entry(f"{run_id}@{step}", f"{last.title} @{step}", "run", folder)


def _run(home: store.Home, run_id: str) -> ModelEntry:
    at = _AT_STEP.fullmatch(run_id)
    if at:
        return _at_step(home, at[1], int(at[2]))
    own, last = run_id.removesuffix(_LAST), run_id.endswith(_LAST)
    folder = store.child(home.runs, own) / (LAST_MODEL if last else "model")
    if last and not _is_there(folder):
        raise UserError("err_no_last_step", own=own)
    if not _is_there(folder):
        raise UserError("err_no_finished_model", run_id=run_id)
    title = _plain(_run_title(folder) or own)
    return _entry(run_id, f"{title} {_LAST}" if last else title, "run", folder)


def _run_title(folder: Path) -> str:
    """The run's name, as the list of runs has it; with its time where nobody gave it one, as such runs are called alike."""
    name = ""
    try:
        about = read_object(folder.parent / "config.json", 2**20)["run"]
        name = str(about["name"])
        if about.get("named"):
            return name
    except (OSError, UserError, LookupError, TypeError, AttributeError):
        pass
    title, began = name or str(_origin(folder).get("title") or ""), _BEGAN.match(folder.parent.name)
    return " · ".join(part for part in (title, began and "{}-{}-{} {}:{}".format(*began.groups())) if part)


def _folder(home: store.Home, model_id: str) -> ModelEntry:
    require_open(home, model_id)
    folder = as_path(model_id)
    assert folder is not None, "require_open refuses what is no path"
    return _entry(str(folder), folder.name, "folder", folder)


def _hub(home: store.Home, model_id: str) -> ModelEntry:
    folder = hub_folder(home, model_id)
    if not _is_there(folder):
        raise UserError("err_not_fetched", model_id=model_id)
    return _entry(model_id, model_id.partition("@")[0], "hub", folder)
