"""The named endpoints of races and searches: JSON in, JSON out. Knows no widget; api.py registers them."""

from collections.abc import Callable

from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import with_sample
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions whose names and docstrings become endpoints."""
    experiments = services.experiments

    @for_owners
    def start_race(config: dict, race: dict | None = None) -> dict:
        """Puts two or three methods in the queue, on the same records, seed and budget; returns the group_id.

        config: as for /start_run. Keys of race: methods (of galore, adamw, lora; all by default), own {method: {learning_rate,
        rank, …}}, tokens (a budget instead of max_steps), name.
        """
        return {"group_id": experiments.start_race(with_sample(services, config), race)}

    @for_owners
    def start_search(config: dict, search: dict) -> dict:
        """Puts the runs of a search over learning_rate, rank, scale, update_proj_gap in the queue; returns the group_id.

        config: as for /start_run. Keys of search: strategy (grid, random, halving), space {setting: [values] or {low, high}},
        runs, seed, eta and least_steps (of halving), keep (best, all: whose models stay), name.
        """
        return {"group_id": experiments.start_search(with_sample(services, config), search)}

    @for_owners
    def experiment_status(group_id: str) -> dict:
        """How a race or a search is: state, rows (one a run, with losses, seconds, tokens and memory), best (a run_id)."""
        return experiments.status(group_id)

    @for_owners
    def list_experiments() -> list[dict]:
        """All races and searches, the newest first, each with its group_id first."""
        return experiments.list()

    @for_owners
    def cancel_experiment(group_id: str) -> dict:
        """Stops the runs of a race or a search and starts no more; returns its status. Harmless when pressed twice."""
        return experiments.cancel(group_id)

    @for_owners
    def delete_experiment(group_id: str) -> dict:
        """Takes a race or a search that is over off the list; its runs stay. Returns its group_id."""
        experiments.delete(group_id)
        return {"group_id": group_id}

    @for_owners
    def experiment_table(group_id: str) -> dict:
        """{text}: the rows of a race or a search as CSV."""
        return {"text": experiments.csv(group_id)}

    return [
        start_race,
        start_search,
        experiment_status,
        list_experiments,
        cancel_experiment,
        delete_experiment,
        experiment_table,
    ]
