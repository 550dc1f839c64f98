"""Where the Hugging Face hub is, and what is different on a Space: told by the environment. Knows no torch and no page."""

import os
from collections.abc import Mapping
from pathlib import Path


def on_space(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the app runs on a Space."""
    return bool(env.get("SPACE_ID"))


def on_zero_gpu(env: Mapping[str, str] = os.environ) -> bool:
    """Whether its GPU is lent for the time of a call only (ZeroGPU)."""
    return env.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def disk_lasts(home: Path, env: Mapping[str, str] = os.environ) -> bool:
    """Whether what is in `home` outlives a restart: not on a Space, unless it is in its persistent storage, /data."""
    return not on_space(env) or home.is_relative_to("/data")


def hub_endpoint() -> str:
    """Where the hub is: HF_ENDPOINT, or huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
