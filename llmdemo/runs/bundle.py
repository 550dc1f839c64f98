"""A run as one .zip: written whole, read with suspicion. Knows nothing of the queue or of processes.

Inside: config.json, events.jsonl, log.txt; model/ if wanted; and, to go on elsewhere, the newest checkpoint with the
run's token ids and the weights of its best evaluation. A bundle comes from anybody, so only these names, plain files, safe kinds of files (safetensors, JSON)
and bounded sizes are taken; nothing in it is executed.
"""

import os
import re
import secrets
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import readable_size, say, together
from llmdemo.core.store import Home, read_json, whole_folder, write_json
from llmdemo.jobs import End
from llmdemo.jobs.reader import Reader
from llmdemo.jobs.states import STOPPED
from llmdemo.models.catalog import try_model
from llmdemo.models.check import check_folder
from llmdemo.runs.folder import RunFolder
from llmdemo.runs.sanitise import believed

_LIMITS = {"config.json": 2**20, "events.jsonl": 2**28, "log.txt": 2**24}
_MODEL_FILE = re.compile(r"model/[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\.(safetensors|json|jinja|txt|md|model)")
_RESUME_FILE = re.compile(
    r"data(?:-[a-z_]{1,40})?\.(?:safetensors|json)|best/weights\.safetensors"
    r"|checkpoints/step-\d{6,9}/(?:state\.json|[a-z_]{1,40}\.safetensors)"
)
_MOST_FILES = 500
_MOST_RATIO = 200  # deflate reaches 1000 on zeros; events reach 20, a log that repeats a line any
_CHUNK = 2**20
_EXPORT_AGAIN = say("export_again")


def export(folder: RunFolder, path: Path, with_model: bool, with_checkpoint: bool = False) -> Path:
    """Writes the bundle to `path`, whole or not at all. Raises UserError when it cannot be written.

    `with_checkpoint`: with what another installation needs to resume it; UserError if there is no checkpoint.
    """
    resume = _resume_files(folder) if with_checkpoint else []
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with zipfile.ZipFile(partial, "x", zipfile.ZIP_DEFLATED) as bundle:
            for name in _LIMITS:
                _pack(bundle, folder.path / name, name, zipfile.ZIP_DEFLATED)
            for file in sorted((folder.path / "model").glob("*")) if with_model else []:
                if _MODEL_FILE.fullmatch(f"model/{file.name}") and file.is_file() and not file.is_symlink():
                    _pack(bundle, file, f"model/{file.name}", zipfile.ZIP_STORED)  # weights do not get smaller
            for file in resume:
                if not _pack(bundle, file, file.relative_to(folder.path).as_posix(), zipfile.ZIP_STORED):
                    raise UserError("err_checkpoint_replaced")
        os.replace(partial, path)
    except OSError as error:
        raise UserError("err_bundle_unwritten", reason=error.strerror or error) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _resume_files(folder: RunFolder) -> list[Path]:
    """The files of the newest checkpoint and the run's token ids. Raises UserError where there is none."""
    newest = folder.newest_checkpoint()
    if newest is None or not folder.can_go_on():
        raise UserError("err_no_checkpoint")
    files = [newest / "state.json", *(newest / name for name in _object_of(newest / "state.json").get("sha256", {}))]
    files += [file for file in [folder.path / "best" / "weights.safetensors"] if file.is_file()]
    files += sorted(folder.path.glob("data*.safetensors")) + sorted(folder.path.glob("data*.json"))
    return [file for file in files if _RESUME_FILE.fullmatch(file.relative_to(folder.path).as_posix())]


def _object_of(path: Path) -> dict:
    try:
        value = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError("err_checkpoint_unreadable") from error
    return value if isinstance(value, dict) else {}


def _pack(bundle: zipfile.ZipFile, file: Path, name: str, method: int) -> bool:
    """Adds the file as long as it is now (the events of a live run go on growing); False if there is none."""
    try:
        source = open(file, "rb")  # noqa: SIM115 (closed below; a missing file is skipped)
    except FileNotFoundError:
        return False
    info = zipfile.ZipInfo(name)
    info.compress_type, info.external_attr = method, 0o644 << 16
    left = os.fstat(source.fileno()).st_size
    with source, bundle.open(info, "w", force_zip64=left >= 2**31) as target:
        while left and (data := source.read(min(left, _CHUNK))):
            target.write(data)
            left -= len(data)
    return True


def unpack(path: Path, target: Path, home: Home, room: int) -> None:
    """Makes the run folder `target` of the bundle at `path`, whole or not at all.

    `room`: how many bytes it may fill. A model in it is tried as any other from elsewhere. Raises UserError.
    """
    try:
        with zipfile.ZipFile(path) as bundle, whole_folder(target, home.tmp) as folder:
            for entry in _checked_entries(bundle, room):
                _extract(bundle, entry, folder)
            _make_ours(folder, target.name)
            _check_model(home, folder / "model")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UserError("err_no_bundle", _EXPORT_AGAIN, error=error) from error
    except OSError as error:
        raise UserError("err_bundle_unopened", reason=error.strerror or error) from error


def _checked_entries(bundle: zipfile.ZipFile, room: int) -> list[zipfile.ZipInfo]:
    entries = bundle.infolist()
    if len(entries) > _MOST_FILES:
        raise UserError("err_bundle_files", _EXPORT_AGAIN, n=len(entries), most=_MOST_FILES)
    names = [entry.filename for entry in entries]
    if "config.json" not in names or len(set(names)) != len(names):
        raise UserError("err_bundle_config", _EXPORT_AGAIN)
    for entry in entries:
        _check(entry)
    total = sum(entry.file_size for entry in entries)
    if total > room:
        raise UserError("err_bundle_space", size=readable_size(total), room=readable_size(max(0, room)))
    return entries


def _check(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if name not in _LIMITS and not _MODEL_FILE.fullmatch(name) and not _RESUME_FILE.fullmatch(name):
        raise UserError("err_bundle_stranger", _EXPORT_AGAIN, name=repr(name[:80]))
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise UserError("err_bundle_no_plain", _EXPORT_AGAIN, name=repr(name))
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError("err_bundle_packed", _EXPORT_AGAIN, name=repr(name))
    if entry.flag_bits & 1:
        raise UserError("err_bundle_encrypted")
    packed_too_well = name != "log.txt" and entry.file_size > max(_CHUNK, _MOST_RATIO * entry.compress_size)
    if entry.file_size > _LIMITS.get(name, entry.file_size) or packed_too_well:
        raise UserError("err_bundle_file_large", _EXPORT_AGAIN, name=repr(name), size=entry.file_size)


def _extract(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Writes one entry. zipfile stops at the announced size, which was checked, whatever the data say."""
    file = folder / entry.filename
    file.parent.mkdir(parents=True, exist_ok=True)
    with bundle.open(entry) as source, open(file, "xb") as target:
        shutil.copyfileobj(source, target, _CHUNK)


def _make_ours(folder: Path, run_id: str) -> None:
    """Gives the run its id here, and keeps of its settings and its model only what may be believed."""
    try:
        config = read_json(folder / "config.json")
    except (ValueError, RecursionError) as error:
        raise UserError("err_bundle_broken", _EXPORT_AGAIN) from error
    if not isinstance(config, dict):
        raise UserError("err_bundle_no_object", _EXPORT_AGAIN)
    write_json(folder / "config.json", believed(config, run_id))
    _end(RunFolder(folder))


def _check_model(home: Home, folder: Path) -> None:
    if folder.is_dir():
        try:
            check_folder(folder)
            try_model(home, folder)
        except UserError as error:
            said = together(say("bundle_model_refused"), error.message)
            raise UserError(said, say("bundle_model_refused_hint")) from error


def _end(folder: RunFolder) -> None:
    """A run that was exported while it went does not go on here."""
    folder.end_line()
    with Reader(folder.events).digest() as digest:
        ended = digest.end is not None
    if not ended:
        message = say("end_exported")
        hint = say("resume_checkpoint_here") if folder.can_go_on() else say("newer_figures")
        folder.note_end(End(STOPPED, "", message, hint))
