"""A finished LoRA run's adapters by themselves, as peft wrote them: some megabytes to put on the base model elsewhere."""

import zipfile
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home, child

FOLDER, _FILE = "adapter", "adapter_model.safetensors"


def has_adapter(home: Home, run_id: str) -> bool:
    """Whether a run has adapters by themselves: those of LoRA, since they are written."""
    try:
        return (child(home.runs, run_id) / FOLDER / _FILE).is_file()
    except UserError:
        return False


def packed_adapter(home: Home, run_id: str, folder: Path, name: str) -> Path:
    """A .zip called `name` in `folder` with adapter_model.safetensors, adapter_config.json and a README. Raises UserError."""
    if not has_adapter(home, run_id):
        raise UserError("err_no_adapter", name=name)
    target = folder / f"{name}-adapter.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted((child(home.runs, run_id) / FOLDER).iterdir()):
            if path.is_file():
                archive.write(path, f"{name}-adapter/{path.name}")
    return target
