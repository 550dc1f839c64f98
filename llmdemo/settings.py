"""Where things are kept and how much of anything is allowed: every limit of the app, in one place.

Each field can be set from the environment as LLMDEMO_<FIELD NAME IN CAPITALS>; the README lists them.
"""

import os
from dataclasses import dataclass, fields
from pathlib import Path

import platformdirs

from llmdemo.errors import UserError


@dataclass(frozen=True)
class Settings:
    home: Path
    """Folder that holds models, data sets, runs and the queue."""
    max_upload_bytes: int = 200 * 2**20
    """Largest file that may be uploaded, in bytes."""
    max_rows: int = 1_000_000
    """Most records a data set may have."""
    max_prompt_tokens: int = 8192
    """Longest prompt in the arena, in tokens; the model's own context may be shorter."""
    max_new_tokens: int = 1024
    """Most tokens that one arena call may generate a lane."""
    max_beams: int = 16
    """Most beams in the arena."""
    max_queued_runs: int = 100
    """Most runs that may wait in the queue."""
    min_free_bytes: int = 2 * 2**30
    """Free space in the home folder below which no run starts, in bytes."""
    runs_at_once: int = 0
    """How many runs may train at the same time; 0: one for each GPU, one on a CPU."""
    stop_grace_seconds: float = 60.0
    """How long a run may take to write its checkpoint after Stop before it is terminated."""
    term_grace_seconds: float = 10.0
    """How long a terminated run may take to end before it is killed."""

    @classmethod
    def from_env(cls, env=None) -> "Settings":
        """Settings from the environment `env` (a mapping; os.environ by default).

        Raises UserError, naming the variable, when a value is not a number or out of range.
        """
        env = os.environ if env is None else env
        values = {"home": Path(env.get("LLMDEMO_HOME") or platformdirs.user_data_dir("llmdemo", appauthor=False))}
        for field in fields(cls):
            key = f"LLMDEMO_{field.name.upper()}"
            if field.name == "home" or not env.get(key):
                continue
            values[field.name] = _number(key, env[key], type(field.default))
        values["home"] = values["home"].expanduser().resolve()
        return cls(**values)


def _number(key: str, text: str, kind: type):
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**53:  # also refuses nan and inf
        raise UserError(
            f"{key} is {text!r}.", f"It must be a number of at least 0 ({kind.__name__}). Unset it for the default."
        )
    return value
