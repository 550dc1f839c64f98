"""A run's checkpoints: safetensors and JSON only, written aside, verified by hash, renamed, and pruned after.

Knows nothing of what the tensors mean. A folder checkpoints/step-000050 exists only if it was whole when it was made;
`newest` still checks the hashes before it gives one out, since disks and people damage files.
"""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmdemo.core import store
from llmdemo.training.on_host import on_host

KEEP = 2
"""Whole checkpoints that are kept: the newest, and one more should it be damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """What a step needs to go on: tensors by group and name, and JSON-able numbers."""

    step: int
    groups: dict[str, dict[str, Tensor]]
    numbers: dict


def size_of(checkpoint: Checkpoint) -> int:
    """Bytes of the tensors."""
    return sum(t.numel() * t.element_size() for group in checkpoint.groups.values() for t in group.values())


def save(folder: Path, scratch: Path, checkpoint: Checkpoint) -> int:
    """Writes folder/step-NNNNNN and prunes older ones; returns its size in bytes. OSError when the disk is full."""
    target = folder / f"step-{checkpoint.step:06d}"
    folder.mkdir(exist_ok=True)
    if target.exists():
        if _read(target) is not None:
            return store.folder_bytes(target)
        shutil.rmtree(target)  # a damaged one, which a resumed run has come by again
    with store.whole_folder(target, scratch) as aside:
        # A file is hashed, and goes from the system's cache to the disk, while the next one is written.
        with ThreadPoolExecutor(2 * len(checkpoint.groups)) as pool:
            found, on_disk = {}, []
            for name, tensors in checkpoint.groups.items():
                path = aside / f"{name}.safetensors"
                save_file(separate(tensors), path)
                found[path.name] = pool.submit(_hash, path)
                on_disk.append(pool.submit(store.sync_file, path))
            hashes = {name: future.result() for name, future in found.items()}
            for future in on_disk:
                future.result()
        state = {"step": checkpoint.step, "sha256": hashes, "numbers": checkpoint.numbers}
        (aside / "state.json").write_text(store.json_text(state), encoding="utf-8")
    prune(folder)
    return store.folder_bytes(target)


def prune(folder: Path, keep: int = KEEP) -> None:
    """Removes all but the `keep` newest checkpoints."""
    for old in _folders(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose hashes are right, or None."""
    for candidate in _folders(folder):
        found = _read(candidate)
        if found is not None:
            return found
    return None


def _folders(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True) if folder.is_dir() else []


def _read(folder: Path) -> Checkpoint | None:
    try:
        state = store.read_json(folder / "state.json")
        for name, expected in state["sha256"].items():
            if Path(name).name != name or _hash(folder / name) != expected:
                return None
        groups = {Path(name).stem: load_file(folder / name) for name in state["sha256"]}
        return Checkpoint(int(state["step"]), groups, state["numbers"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
        return None


def separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous, in the computer's memory, and copies where tensors share memory, which safetensors refuses.

    bitsandbytes gives the 8-bit states of all large matrices one and the same quantisation map.
    """
    found, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        place = (tensor.device, tensor.untyped_storage().data_ptr())
        own = on_host(tensor)
        found[name] = own.clone() if own is tensor and place in seen and tensor.numel() else own
        seen.add(place)
    return found


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rng_state() -> dict[str, Tensor]:
    """torch's random state, of the CPU and of the current GPU."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
