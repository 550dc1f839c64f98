"""What the panels and endpoints call, made once at start. Knows nothing of widgets."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llmdemo.errors import UserError
from llmdemo.settings import Settings
from llmdemo.store import Home

ASSETS = Path(__file__).resolve().parents[2] / "assets"


@dataclass(frozen=True)
class Services:
    """One installation's services, passed to every panel."""

    settings: Settings
    home: Home
    runs: object
    """llmdemo.runs.Runs: the queue and the runs."""
    starter: object
    """llmdemo.models.starter.StarterFetch: brings the starter model in the background."""
    arena: "Lazy"
    """Lazy[llmdemo.arena.Arena]: the decoding service; it imports torch, so it is made at its first use."""
    tokenizers: "Tokenizers"
    """Loaded tokenizers by model id."""
    guests_only: bool = False
    """True on a shared address without --auth: visitors may use the arena and nothing else."""

    def require_owner(self) -> None:
        """Raises UserError unless whoever reaches the app may change things on this machine."""
        if self.guests_only:
            raise UserError(
                "This app is shared without a password, so visitors can use the arena only.",
                "Start it with --auth USER:PASSWORD to add data and train from another computer.",
            )


class Lazy:
    """A value made at its first use, once, whichever thread asks first."""

    def __init__(self, make: Callable):
        self._make = make
        self._lock = threading.Lock()
        self._value = None

    def get(self):
        with self._lock:
            if self._value is None:
                self._value = self._make()
        return self._value


@dataclass
class Tokenizers:
    """Keeps the tokenizer of the model that was asked for last; loading one takes about a second."""

    load: Callable
    """model id → tokenizer; raises UserError when there is no such model, or it is not here yet."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: dict = field(default_factory=dict)

    def get(self, model_id: str):
        with self._lock:
            if model_id not in self._kept:
                tokenizer = self.load(model_id)
                self._kept.clear()
                self._kept[model_id] = tokenizer
            return self._kept[model_id]


def make_services(settings: Settings, *, guests_only: bool = False, command=None) -> Services:
    """The services of the home folder in `settings`. Starts fetching the starter model in the background.

    `command` replaces the worker's command line (tests). Raises UserError when the home folder cannot be written.
    """
    from llmdemo.models.starter import StarterFetch
    from llmdemo.runs import Runs

    home = Home(settings.home).prepare()
    starter = StarterFetch(home)
    starter.start()
    return Services(
        settings=settings,
        home=home,
        runs=Runs(home, settings, command=command),
        starter=starter,
        arena=Lazy(lambda: _make_arena(home, settings)),
        tokenizers=Tokenizers(lambda model_id: _load_tokenizer(home, model_id)),
        guests_only=guests_only,
    )


def _make_arena(home: Home, settings: Settings):
    from llmdemo.arena import Arena

    return Arena(home, settings)


def _load_tokenizer(home: Home, model_id: str):
    from llmdemo.models.catalog import resolve
    from llmdemo.models.load import load_tokenizer

    return load_tokenizer(resolve(home, model_id))
