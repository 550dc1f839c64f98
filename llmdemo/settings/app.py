"""Where things are kept and how much of anything is allowed: every limit of the app, in one place.

Each field can be set from the environment as LLMDEMO_<FIELD NAME IN CAPITALS>; the README lists them.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import platformdirs

from llmdemo.core.errors import UserError


@dataclass(frozen=True)
class Settings:
    """The app's own settings; one for the process."""

    home: Path
    """Folder that holds models, data sets, runs and the queue."""
    model_roots: tuple[Path, ...] = ()
    """Folders that model folders and downloaded runs may be opened from; empty: any on this computer alone, the home
    folder where others come."""
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
    max_lanes: int = 16
    """Most lanes of one comparison."""
    max_prompts: int = 500
    """Most prompts of one batch in the arena."""
    guest_prompt_tokens: int = 2048
    """Longest prompt of a guest, in tokens."""
    guest_new_tokens: int = 256
    """Most tokens that a guest's arena call may generate a lane."""
    guest_beams: int = 8
    """Most beams for a guest."""
    guest_prompts: int = 20
    """Most prompts of a guest's batch."""
    max_serving: int = 32
    """Requests of served models that are answered at once; more wait in line."""
    max_serving_waiting: int = 128
    """Requests of served models that may wait in line; more are refused with 429."""
    key_requests_per_minute: int = 600
    """How often an API key may ask in a minute, where its maker does not say."""
    max_request_bytes: int = 32 * 2**20
    """Largest request that is no file's upload, in bytes."""
    guest_request_bytes: int = 2**20
    """Largest request of a guest, in bytes."""
    max_request_values: int = 1_000_000
    """Most values (texts, numbers, lists, objects) of one request."""
    guest_request_values: int = 20_000
    """Most values of a guest's request."""
    max_decodings: int = 4
    """How many comparisons may be computed at the same time; the others wait in the queue. On a CPU those of one model
    share each step (decoding/step_batcher.py)."""
    max_waiting: int = 100
    """Most requests of all visitors that may wait in the queue; a guest may have a tenth of them."""
    max_requests_per_minute: int = 240
    """How often a guest may ask in a minute, everything counted that their page sends; an address twenty times that."""
    max_voters: int = 500
    """Most participants of one blind vote."""
    max_sessions: int = 500
    """Pages whose state is kept, the last ones used: some 0.5 MiB each, and every call past the page opens one more."""
    max_connections: int = 800
    """Most open connections of all visitors."""
    connections_of_address: int = 400
    """Most open connections of one address, which may be a whole school's: a page keeps some four."""
    hosts: tuple[str, ...] = ()
    """Names of this app besides this computer's own, as in its visitors' address line."""
    behind_proxy: int = 0
    """1 where a proxy of your own, and nobody past it, reaches the app, sets X-Forwarded-Host and adds whom it serves to
    X-Forwarded-For; else such headers are not believed."""
    max_home_bytes: int = 100 * 2**30
    """Disk quota: size of the home folder above which nothing is added and no run starts, in bytes."""
    max_run_seconds: int = 7 * 24 * 3600
    """Longest time that a run may train, in seconds; it is then stopped with a checkpoint and can be resumed."""
    max_queued_runs: int = 100
    """Most runs that may wait in the queue."""
    min_free_bytes: int = 2 * 2**30
    """Free space in the home folder below which no run starts, in bytes."""
    runs_at_once: int = 0
    """How many runs may train at the same time; 0: one for each GPU, one on a CPU."""
    spare_seconds: int = 600
    """How long a worker with its imports done waits for Start while somebody fills in the Train form (some 350 MB of
    memory); 0: none is kept waiting."""
    stop_runs_at_exit: int = 0
    """1: when the app ends, runs write a checkpoint and stop; 0: they go on by themselves."""
    stop_grace_seconds: float = 60.0
    """How long a run may take to write its checkpoint after Stop before it is terminated."""
    term_grace_seconds: float = 10.0
    """How long a terminated run may take to end before it is killed."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """Settings from the environment `env` (a mapping; os.environ by default).

        Raises UserError, naming the variable, when a value is not a number or out of range.
        """
        env = os.environ if env is None else env
        home = Path(env.get("LLMDEMO_HOME") or platformdirs.user_data_dir("llmdemo", appauthor=False))
        values: dict[str, Any] = {"home": home.expanduser().resolve()}
        for field in fields(cls):
            key = f"LLMDEMO_{field.name.upper()}"
            if field.name == "home" or not env.get(key):
                continue
            if field.name == "model_roots":
                values[field.name] = _folders(env[key])
                continue
            if field.name == "hosts":
                values[field.name] = _names(env[key])
                continue
            values[field.name] = _number(key, env[key], float if isinstance(field.default, float) else int)
        return cls(**values)

    def for_guests(self) -> "GuestSettings":
        """The settings with a guest's limits in place of the app's, where those are tighter."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tighter = {name: min(values[name], values[guests]) for name, guests in _GUESTS.items()}
        return GuestSettings(**{**values, **tighter})

    def variable(self, limit: str) -> str:
        """The environment variable that rules the limit, for its refusal."""
        return f"LLMDEMO_{limit.upper()}"


class GuestSettings(Settings):
    """What a guest may do; made by Settings.for_guests."""

    def variable(self, limit: str) -> str:
        guests = _GUESTS.get(limit, limit)
        return super().variable(guests if getattr(self, guests) <= getattr(self, limit) else limit)


_GUESTS = {
    "max_prompt_tokens": "guest_prompt_tokens",
    "max_new_tokens": "guest_new_tokens",
    "max_beams": "guest_beams",
    "max_prompts": "guest_prompts",
    "max_request_bytes": "guest_request_bytes",
    "max_request_values": "guest_request_values",
}
"""A limit, and that of guests in its place."""


def _folders(text: str) -> tuple[Path, ...]:
    """Folders that are separated as in PATH."""
    return tuple(Path(part).expanduser().resolve() for part in text.split(os.pathsep) if part.strip())


_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.\-]*[a-z0-9_])?", re.IGNORECASE)
"""What may stand in an address line for a host, without a port."""


def _names(text: str) -> tuple[str, ...]:
    """Hosts that are separated by commas. Raises UserError for what is none."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        if not _NAME.fullmatch(name):
            raise UserError("err_env_hosts", name=repr(name))
    return names


def _number(key: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        value: int | float = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**53:  # also refuses nan and inf
        raise UserError("err_env_number", key=key, text=repr(text), kind=kind.__name__)
    return value
