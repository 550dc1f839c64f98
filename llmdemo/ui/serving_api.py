"""The named endpoints of served models, for owners' scripts. JSON in, JSON out; knows no widget. Registered by api.py.

What served models answer to is below /v1/ (serving/routes.py), which needs a key and no page.
"""

from collections.abc import Callable

from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    serving = services.serving

    @for_owners
    def serve_model(model_id: str, name: str = "", lane: str | dict | None = None) -> dict:
        """Serves a model at /v1/ (OpenAI's API) under a name, until /unserve_model, also after a restart of the app.

        lane: how it decodes unless a request says otherwise: a strategy ("greedy", "beam4", "top_p0.9") or an object
        {"strategy", and its settings}; greedy by default, none for a classifier. name: by default made of the id. What was
        served under the name is replaced. Who asks needs a key of /create_key. Returns name, model_id, lane, created.
        """
        services.require_owner()
        return serving.serve(model_id, name, lane).to_dict()

    @for_owners
    def unserve_model(name: str) -> dict:
        """Stops serving what has this name; requests that have begun are answered to their end. Returns the name."""
        services.require_owner()
        serving.unserve(name)
        return {"name": name}

    @for_owners
    def list_served() -> dict:
        """{served: [{name, model_id, lane, created, title, task, problem}], keys: [{key_id, name, models, …}]}"""
        services.require_owner()
        return serving.overview()

    @for_owners
    def create_key(
        name: str = "", models: list[str] | None = None, requests_per_minute: int | None = None, monitor: bool = False
    ) -> dict:
        """Makes an API key for /v1/ and returns it in `key`: this once, as only its hash is kept. Also returns its key_id.

        models: names of served models that it opens; none or []: all of them. requests_per_minute: its limit.
        monitor: whether it also opens the figures at /metrics.
        """
        services.require_owner()
        return serving.create_key(name, models or [], requests_per_minute, monitor)

    @for_owners
    def revoke_key(key_id: str) -> dict:
        """A key opens nothing from now on; returns what is known of it. Harmless when done again."""
        services.require_owner()
        return serving.keys.revoke(key_id).to_dict()

    return [serve_model, unserve_model, list_served, create_key, revoke_key]
