"""Streams rows of a data set of the hub, or of a local folder, to standard output: one JSON object a line.

{"row": {…}} for a row, {"row": "reason"} for one that cannot be passed on, {"error", "hint"} as the last line when
it fails. Run by hub.py as a process of its own; knows nothing of shapes.
"""

import os
import re
import sys
from collections import Counter
from pathlib import Path

import orjson

from llmdemo.core.bounded_child import limit

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
    except _Refused as refused:
        return _fail(str(refused), refused.hint)
    except DatasetNotFoundError as error:
        gated = "gated" in str(error).lower()
        hint = "Accept its terms on the hub and set HF_TOKEN." if gated else "Check the name."
        return _fail(
            f"{ask['id']} cannot be read: {'its terms must be accepted' if gated else 'it was not found'}.", hint
        )
    except MemoryError:
        return _fail("The data set takes more memory than is allowed.", "Download a part of it and add the file.")
    except BrokenPipeError:
        return 1
    except Exception as error:  # whatever a library raises for a stranger's files ends in a sentence
        return _fail(
            f"{ask['id']} cannot be read ({type(error).__name__}: {str(error)[:200]}).", "Is it a data set of text?"
        )
    return 0


class _Refused(Exception):
    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.hint = hint


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
            raise _Refused(
                f"{ask['id']} has several configurations.", f"Choose one: {', '.join(names[:20])}."
            ) from error
        raise
    splits = list(found)
    split = ask["split"] or ("train" if "train" in splits else splits[0] if len(splits) == 1 else None)
    if split is None or split not in splits:
        raise _Refused(
            f"{ask['id']} has no split {ask['split'] or 'train'!r}.", f"Choose one: {', '.join(splits[:20])}."
        )
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
        raise _Refused(
            f"{ask['id']} is made by a script, which is not run.", "It has no JSON, CSV or Parquet files to read."
        )
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
        line = orjson.dumps({"row": "has a value that cannot be written as text"})
    if len(line) > 8 * 2**20:
        line = orjson.dumps({"row": "is longer than 8 MB"})
    sys.stdout.buffer.write(line + b"\n")


def _fail(message: str, hint: str) -> int:
    sys.stdout.buffer.write(orjson.dumps({"error": message, "hint": hint}) + b"\n")
    sys.stdout.buffer.flush()
    return 1


if __name__ == "__main__":
    code = main(orjson.loads(sys.argv[1]))
    sys.stdout.buffer.flush()
    os._exit(code)  # `datasets` leaves threads of its event loop behind that can hang a normal end
