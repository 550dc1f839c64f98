"""Files that were uploaded to an endpoint: where they lie. The only place that trusts a path from outside."""

from pathlib import Path

from gradio.utils import get_upload_folder

from llmdemo.core.errors import UserError


def uploaded(file) -> tuple[Path, str]:
    """(path, original name) of an uploaded file. Raises UserError for anything but a file that was uploaded here."""
    values = file if isinstance(file, dict) else getattr(file, "model_dump", dict)()
    folder = Path(get_upload_folder()).resolve()
    try:
        path = Path(str(values.get("path") or "")).resolve()
        inside = path.is_relative_to(folder) and path.is_file()
    except (OSError, ValueError):
        inside = False
    if not inside:
        raise UserError("err_no_upload")
    return path, str(values.get("orig_name") or path.name)


def name_of(names: list[str]) -> str:
    """What a data set of these files is called: the file's name, or the first one's with how many follow; "" of none."""
    return names[0] if len(names) == 1 else f"{Path(names[0]).stem} + {len(names) - 1}" if names else ""
