"""What the panels and endpoints call, made once at start. Knows nothing of widgets."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llmdemo.access.people import Access
from llmdemo.access.sessions import Sessions
from llmdemo.core import assets
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.jobs.states import ALIVE
from llmdemo.settings import Settings
from llmdemo.ui import authentication
from llmdemo.ui.event_streams import EventStreams
from llmdemo.ui.fair_queue import standing_in

if TYPE_CHECKING:  # the arena and the classifiers import torch, which takes seconds
    from llmdemo.arena import Arena
    from llmdemo.arena.votes import VoteSessions
    from llmdemo.elsewhere import Elsewhere
    from llmdemo.evaluation import Evaluations
    from llmdemo.evaluation.use import Classifiers
    from llmdemo.experiments import Experiments
    from llmdemo.generation import DataRaces, Generations
    from llmdemo.jobs.spare import Spare
    from llmdemo.knowledge import Probes
    from llmdemo.maps import Maps
    from llmdemo.models.starter import StarterFetch
    from llmdemo.publish import Pushes
    from llmdemo.runs import Runs
    from llmdemo.selection import Selection
    from llmdemo.serving import Serving
    from llmdemo.serving.exports import Exports

T = TypeVar("T")
ASSETS = assets.FOLDER


@dataclass(frozen=True)
class Services:
    """One installation's services, passed to every panel."""

    settings: Settings
    home: Home
    runs: "Runs"
    """The queue and the runs."""
    starter: "StarterFetch"
    """Brings the starter model in the background."""
    arena: "Lazy[Arena]"
    """The decoding service; it imports torch, so it is made at its first use."""
    tokenizers: "Tokenizers"
    """Loaded tokenizers by model id."""
    evaluations: "Evaluations"
    """Models and classifiers on held-out data."""
    generations: "Generations"
    """Data sets that models make."""
    data_races: "DataRaces"
    """Made data against people's, on the same held-out records."""
    probes: "Probes"
    """What models know already of a data set's answers."""
    maps: "Maps"
    """Where the records of a data set lie."""
    selection: "Selection"
    """Which of them to learn from, and whose labels may be wrong."""
    classifiers: "Lazy[Classifiers]"
    """A finished classifier in use."""
    experiments: "Experiments"
    """Races and searches of runs."""
    serving: "Serving"
    """Models that others call at /v1/."""
    exports: "Exports"
    """Finished models as GGUF files."""
    pushes: "Pushes"
    """Finished runs on their way to the hub."""
    elsewhere: "Elsewhere"
    """Runs on machines that are rented from the hub."""
    votes: "Lazy[VoteSessions]"
    """Blind votes of a class; it needs the arena, so it is made at its first use."""
    guests_only: bool = False
    """True on a shared address without --auth: visitors may use the arena and nothing else."""
    access: Access = Access()
    """How owners are told from guests."""
    sessions: Sessions = field(default_factory=Sessions)
    """Whose a page's session and an event are."""
    streams: EventStreams = field(default_factory=lambda: EventStreams(standing_in))
    """Events of comparisons on their way to the pages that wait for them."""
    spare: "Spare | None" = None
    """A worker that has its imports done before Start is pressed."""

    def close(self) -> None:
        """Ends what is being computed in this process; runs go on or are stopped, as the settings say."""
        if arena := self.arena.made():
            arena.close()
        if self.spare:
            self.spare.close()
        self.serving.monitor.close()
        if self.settings.stop_runs_at_exit and self.runs.leads:
            stop_runs(self.runs, self.settings.stop_grace_seconds)
        self.runs.close()

    def get_ready(self) -> None:
        """Has a worker import what a run needs, as somebody is about to start one; not while runs go, which need the CPU."""
        seconds = self.settings.spare_seconds
        if self.spare is None or not seconds or any(run["state"] in ALIVE for run in self.runs.list()):
            return
        from llmdemo.runs.command import worker_command, worker_environment

        argv = worker_command(self.home.root, {})[:-1]
        self.spare.get_ready(argv, worker_environment(self.home.root, {}), seconds)

    def is_owner(self) -> bool:
        """Whether who asks, in this very request, may change things on this machine."""
        if self.guests_only:
            return False
        visitor = authentication.current()
        return not self.access.has_guests if visitor is None else visitor.is_owner

    def limits(self) -> Settings:
        """The settings with the limits of who asks."""
        return self.settings if self.is_owner() else self.settings.for_guests()

    def require_owner(self) -> None:
        """Raises UserError, with what to do, unless who asks may change things on this machine."""
        if not self.is_owner():
            raise not_an_owner(self.access.policy if not self.guests_only else "guests")


def stop_runs(runs: "Runs", seconds: float) -> None:
    """Asks all runs that have begun for a checkpoint and their end, and waits for it for `seconds` at most."""
    end = time.monotonic() + seconds
    going = [run["run_id"] for run in runs.list() if run["state"] in ALIVE]
    for run_id in going:
        runs.stop(run_id)
    while time.monotonic() < end and any(runs.status(run_id)["state"] in ALIVE for run_id in going):
        time.sleep(0.1)


def not_an_owner(policy: str) -> UserError:
    """What a guest is told, by the policy of `Access`."""
    return UserError(f"err_not_owner_{policy}")


class Lazy(Generic[T]):
    """A value made at its first use, once, whichever thread asks first."""

    def __init__(self, make: Callable[[], T]):
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None

    def get(self) -> T:
        with self._lock:
            if self._value is None:
                self._value = self._make()
            return self._value

    def made(self) -> T | None:
        """The value, if somebody has asked for it; else None."""
        return self._value


@dataclass
class Tokenizers:
    """Keeps the tokenizers of the model that was asked for last; loading one takes about a second."""

    load: Callable[[str, bool], Any]
    """(model id, classifies) → tokenizer; raises UserError when there is no such model, or it is not here yet."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: dict = field(default_factory=dict)

    def get(self, model_id: str, classifies: bool = False):
        """The model's tokenizer, or that of a classifier made of it."""
        with self._lock:
            key = model_id, classifies
            if key not in self._kept:
                tokenizer = self.load(*key)
                self._kept = {other: kept for other, kept in self._kept.items() if other[0] == model_id}
                self._kept[key] = tokenizer
            return self._kept[key]


def make_services(settings: Settings, *, access: Access | None = None, spare: "Spare | None" = None) -> Services:
    """The services of the home folder in `settings`. Starts fetching the starter model in the background.

    `access` says who may do what; without it everybody is an owner; `spare` starts workers, and has one ready. Raises UserError when the home folder cannot be written.
    """
    from llmdemo.elsewhere import Elsewhere
    from llmdemo.evaluation import Evaluations
    from llmdemo.experiments import Experiments
    from llmdemo.generation import DataRaces, Generations
    from llmdemo.jobs import Jobs
    from llmdemo.knowledge import Probes
    from llmdemo.maps import Maps
    from llmdemo.models.starter import StarterFetch
    from llmdemo.publish import Pushes
    from llmdemo.runs import Runs
    from llmdemo.selection import Selection
    from llmdemo.serving import Serving
    from llmdemo.serving.exports import Exports

    home = Home(settings.home, _model_roots(settings, access)).prepare()
    starter = StarterFetch(home)
    starter.start()
    jobs = Jobs(home, settings, spare.launch) if spare else Jobs(home, settings)
    runs = Runs(jobs)
    evaluations = Evaluations(jobs, runs)
    generations = Generations(jobs)
    maps = Maps(jobs)
    arena = Lazy(lambda: _make_arena(home, settings, serving))
    classifiers = Lazy(lambda: _make_classifiers(home, settings))
    serving = Serving(home, settings, arena.get, classifiers.get)
    return Services(
        settings=settings,
        home=home,
        runs=runs,
        experiments=Experiments(jobs, runs),
        pushes=Pushes(jobs, runs),
        elsewhere=Elsewhere(jobs, runs),
        starter=starter,
        arena=arena,
        votes=Lazy(lambda: _make_votes(home, settings, arena)),
        serving=serving,
        tokenizers=Tokenizers(lambda model_id, classifies: _load_tokenizer(home, model_id, classifies)),
        evaluations=evaluations,
        exports=Exports(jobs, evaluations),
        generations=generations,
        data_races=DataRaces(jobs, runs, generations),
        maps=maps,
        probes=Probes(jobs),
        selection=Selection(home, maps),
        classifiers=classifiers,
        guests_only=access is not None and not access.has_owners,
        access=access or Access(),
        spare=spare,
    )


def _model_roots(settings: Settings, access: Access | None) -> tuple[Path, ...] | None:
    """Where model folders may be chosen from; None: anywhere, for who sits at this computer."""
    if settings.model_roots or (access is not None and access.has_guests):
        return (settings.home, *settings.model_roots)
    return None


def _make_arena(home: Home, settings: Settings, serving: "Serving") -> "Arena":
    from llmdemo.models.library import import_library

    import_library()
    from llmdemo.arena import Arena
    from llmdemo.serving.arena_watch import watcher

    arena = Arena(home, settings, keep=serving.registry.model_ids)
    arena.watch = watcher(serving.monitor, serving.thumbs)
    return arena


def _make_votes(home: Home, settings: Settings, arena: "Lazy[Arena]") -> "VoteSessions":
    decoder = arena.get()
    from llmdemo.arena import vote_answers
    from llmdemo.arena.votes import VoteSessions

    def answer(*asked):
        return vote_answers.answer(decoder, *asked)

    return VoteSessions(home, answer, settings.max_voters, decoder.stop)


def _make_classifiers(home: Home, settings: Settings) -> "Classifiers":
    from llmdemo.models.library import import_library

    import_library()
    from llmdemo.evaluation.use import Classifiers

    return Classifiers(home, settings)


def _load_tokenizer(home: Home, model_id: str, classifies: bool):
    from llmdemo.models.library import import_library

    import_library()
    from llmdemo.models.catalog import resolve
    from llmdemo.models.load import load_classifier_tokenizer, load_tokenizer

    return (load_classifier_tokenizer if classifies else load_tokenizer)(resolve(home, model_id))
