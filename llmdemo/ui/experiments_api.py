"""The named endpoints of races and searches: JSON in, JSON out. Knows no widget; api.py registers them."""

from collections.abc import Callable

from llmdemo.ui.rights import for_owners
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
        services.require_owner()
        return {"group_id": experiments.start_race(config, race)}

    @for_owners
    def start_search(config: dict, search: dict) -> dict:
        """Puts the runs of a search over learning_rate, rank, scale, update_proj_gap in the queue; returns the group_id.

        config: as for /start_run. Keys of search: strategy (grid, random, halving), space {setting: [values] or {low, high}},
        runs, seed, eta and least_steps (of halving), keep (best, all: whose models stay), name.
        """
        services.require_owner()
        return {"group_id": experiments.start_search(config, search)}

    @for_owners
    def experiment_status(group_id: str) -> dict:
        """How a race or a search is: state, rows (one a run, with losses, seconds, tokens and memory), best (a run_id)."""
        services.require_owner()
        return experiments.status(group_id)

    @for_owners
    def list_experiments() -> list[dict]:
        """All races and searches, the newest first, each with its group_id first."""
        services.require_owner()
        return experiments.list()

    @for_owners
    def cancel_experiment(group_id: str) -> dict:
        """Stops the runs of a race or a search and starts no more; returns its status. Harmless when pressed twice."""
        services.require_owner()
        return experiments.cancel(group_id)

    return [start_race, start_search, experiment_status, list_experiments, cancel_experiment]
