"""The named endpoints of runs, for scripts and for the page. JSON in, JSON out; knows no widget."""

from collections.abc import Callable, Iterator

from llmdemo import prepare
from llmdemo.core.errors import UserError
from llmdemo.settings.training import TrainConfig
from llmdemo.ui import authentication
from llmdemo.ui.endpoints import takes
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import with_sample
from llmdemo.ui.services import Services

_MOST_COMPARED = 100
_MOST_LINES = 2000


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    runs = services.runs

    @for_owners
    @takes(TrainConfig)
    def start_run(config: dict) -> dict:
        """Puts a training run in the queue and returns its run_id, and notes: what to know of it, in sentences. It goes on by itself.

        Every key of config but dataset_id has a default that works; "sample" is the sample data, which is added first:
        """
        return prepare.started(services.home, runs, with_sample(services, config))

    @for_owners
    def run_status(run_id: str) -> dict:
        """How a run is: state, reason, step, total_steps, best_step, loss, eval_loss, tokens_per_second, eta_seconds,
        peak_memory_bytes, model_id; notes: what to know of it, in sentences; worker: what it takes, its records among it."""
        return runs.status(run_id)

    @for_owners
    def list_runs() -> list[dict]:
        """All runs, the newest first, each with its run_id first and the keys of /run_status."""
        services.elsewhere.collect()
        return runs.list()

    @for_owners
    def stop_run(run_id: str) -> dict:
        """Asks a run to write a checkpoint and end; returns its status. Harmless when pressed twice."""
        return runs.stop(run_id)

    @for_owners
    def resume_run(run_id: str) -> dict:
        """Puts a stopped or failed run back in the queue; it goes on from its newest checkpoint. Returns its status."""
        return runs.resume(run_id)

    return [start_run, run_status, list_runs, stop_run, resume_run, *_queued(services), *_kept(services)]


def _queued(services: Services) -> list[Callable]:
    runs = services.runs

    @for_owners
    def cancel_run(run_id: str) -> dict:
        """Takes a waiting run out of the queue; one that has begun is left alone, and that is said. Returns its status."""
        return runs.cancel(run_id)

    @for_owners
    def reorder_run(run_id: str, place: int = 1) -> dict:
        """Moves a waiting run to this place of the queue, 1 being the next one. Returns its status."""
        runs.reorder(run_id, place)
        return runs.status(run_id)

    @for_owners
    def run_log(run_id: str, lines: int = 200) -> dict:
        """{text}: the last lines of what a run's processes printed."""
        return {"text": runs.log_tail(run_id, max(1, min(lines, _MOST_LINES)))}

    @for_owners
    def show_run(run_id: str, on: bool = True) -> dict:
        """Lets guests watch a run as it goes, or no longer; returns the link, below the app's own address."""
        runs.show(run_id, on is True)  # a script may send any text
        return {"link": f"{authentication.WATCH_PAGE}?run={run_id}"}

    return [cancel_run, reorder_run, run_log, show_run]


def _kept(services: Services) -> list[Callable]:
    """What is done with runs beside training them."""
    runs = services.runs

    @for_owners
    def clone_run(run_id: str) -> dict:
        """Starts a new run with the settings of this one, on the same data; returns the new run_id."""
        return {"run_id": prepare.clone(services.home, runs, run_id)}

    @for_owners
    def delete_run(run_id: str) -> dict:
        """Deletes a run, its checkpoints and its model for good; returns its run_id."""
        runs.delete(run_id)
        return {"run_id": run_id}

    @for_owners
    def rename_run(run_id: str, name: str = "", note: str | None = None) -> dict:
        """Gives a run another name, a note of what it was for, or both; "" and null leave them. Returns its status."""
        if name:
            runs.rename(run_id, name)
        if note is not None:
            runs.annotate(run_id, str(note))
        return runs.status(run_id)

    @for_owners
    def compare_runs(run_ids: list[str]) -> dict:
        """In what runs (100 at most) differ: {settings: {setting: {run_id: value}}}, only those that are not alike; runs: their
        statuses."""
        if not isinstance(run_ids, list) or not run_ids:
            raise UserError("err_no_runs")
        named = [str(run_id) for run_id in run_ids[:_MOST_COMPARED]]
        return {"settings": runs.differences(named), "runs": [runs.status(run_id) for run_id in named]}

    @for_owners
    def push_run(
        run_id: str, repo: str, token: str, private: bool = True, licence: str = "", language: str = "en"
    ) -> Iterator[dict]:
        """Pushes the model of a finished run to the Hugging Face hub, with a card; streams {state, sent, total, file}.

        repo: "name" or "owner/name"; token: an access token that may write, used once and kept nowhere; licence: as the
        hub writes it, by default the base model's; language: the card's, "en", "zh-TW" or another of the page's. The last state is done, with url and revision, or why it failed.
        """
        services.pushes.start(
            run_id, repo, token or authentication.hub_token(), private=private, licence=licence, language=language
        )
        yield from services.pushes.follow(run_id)

    return [clone_run, delete_run, rename_run, compare_runs, push_run]
