"""Streams rows of a data set of the hub, or of a local folder, to standard output: one JSON object a line.

{"row": {…}} for a row, {"row": key of the reason} for one that cannot be passed on, {"error", "hint"} as the last line when
it fails. Run by hub.py as a process of its own; knows nothing of shapes.
"""

import os
import re
import sys
from collections import Counter
from pathlib import Path

import orjson

from llmdemo.core.bounded_child import limit
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import pack

_MEMORY_BYTES = 4 * 2**30
_NOT_TEXT = ("Image", "Audio", "Video", "Pdf", "Array2D", "Array3D", "Array4D", "Array5D")


def main(ask: dict) -> int:
    """Streams; returns the exit code."""
    limit(data_bytes=_MEMORY_BYTES)
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    datasets.disable_progress_bars()
    try:
        data = _open(datasets, ask)
        names = _class_names(data.features or {})
        for number, row in enumerate(data):
            if number >= ask["rows"]:
                break
            _send(row, names)
        sys.stdout.buffer.flush()
    except UserError as refused:
        return _fail(refused)
    except DatasetNotFoundError as error:
        return _fail(UserError("err_hub_gated" if "gated" in str(error).lower() else "err_hub_not_found", id=ask["id"]))
    except MemoryError:
        return _fail(UserError("err_hub_memory"))
    except BrokenPipeError:
        return 1
    except Exception as error:  # whatever a library raises for a stranger's files ends in a sentence
        what = f"{type(error).__name__}: {str(error)[:200]}"
        return _fail(UserError("err_hub_unreadable", id=ask["id"], what=what))
    return 0


def _open(datasets, ask: dict):
    options = {"streaming": True}
    if not ask["local"]:
        options["revision"] = ask["revision"]
    try:
        found = datasets.load_dataset(ask["id"], ask["config"], **options)
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        found = _by_files(datasets, ask)
    except ValueError as error:
        if "onfig name is missing" in str(error) or "BuilderConfig" in str(error):
            names = datasets.get_dataset_config_names(ask["id"], revision=options.get("revision"))
            raise UserError("err_hub_configurations", id=ask["id"], names=list(names[:20])) from error
        raise
    splits = list(found)
    split = ask["split"] or ("train" if "train" in splits else splits[0] if len(splits) == 1 else None)
    if split is None or split not in splits:
        raise UserError("err_hub_no_split", id=ask["id"], split=repr(ask["split"] or "train"), names=list(splits[:20]))
    data = found[split]
    media = [name for name, kind in (data.features or {}).items() if type(kind).__name__ in _NOT_TEXT]
    return data.remove_columns(media) if media else data


_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
_SPLIT = re.compile(r"(?:^|[^a-z])(train|test|validation|valid|val|dev)(?:[^a-z]|$)")


def _by_files(datasets, ask: dict):
    """A data set whose repository has a script, which is never run: its data files, by the split that their names say."""
    if ask["local"]:
        files = sorted(str(path.relative_to(ask["id"])) for path in Path(ask["id"]).rglob("*") if path.is_file())
        below = ask["id"]
    else:
        from huggingface_hub import HfApi

        files = sorted(HfApi().list_repo_files(ask["id"], repo_type="dataset", revision=ask["revision"]))
        below = f"hf://datasets/{ask['id']}@{ask['revision']}"
    kinds = Counter(_BUILDERS[Path(file).suffix] for file in files if Path(file).suffix in _BUILDERS)
    if not kinds:
        raise UserError("err_hub_script", id=ask["id"])
    kind = kinds.most_common(1)[0][0]
    parts: dict[str, list[str]] = {}
    for file in (file for file in files if _BUILDERS.get(Path(file).suffix) == kind):
        split = _SPLIT.search(file.lower())
        parts.setdefault(split[1] if split else "train", []).append(f"{below}/{file}")
    return datasets.load_dataset(kind, data_files=parts, streaming=True)


def _class_names(features) -> dict[str, list[str]]:
    return {name: kind.names for name, kind in features.items() if type(kind).__name__ == "ClassLabel"}


def _send(row: dict, names: dict[str, list[str]]) -> None:
    for column, labels in names.items():
        value = row.get(column)
        if isinstance(value, int) and 0 <= value < len(labels):
            row[column] = labels[value]
    try:
        line = orjson.dumps({"row": row}, default=str)
    except (TypeError, ValueError):
        line = orjson.dumps({"row": "reason_no_text"})
    if len(line) > 8 * 2**20:
        line = orjson.dumps({"row": "reason_row_too_long"})
    sys.stdout.buffer.write(line + b"\n")


def _fail(refused: UserError) -> int:
    sys.stdout.buffer.write(orjson.dumps(pack({"error": refused.message, "hint": refused.hint})) + b"\n")
    sys.stdout.buffer.flush()
    return 1


if __name__ == "__main__":
    code = main(orjson.loads(sys.argv[1]))
    sys.stdout.buffer.flush()
    os._exit(code)  # `datasets` leaves threads of its event loop behind that can hang a normal end
