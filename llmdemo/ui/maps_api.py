"""The named endpoints that map data sets, for scripts. JSON in, JSON out; knows no widget. Registered by api.py."""

import inspect
from collections.abc import Callable

from llmdemo.settings.maps import MapSpec
from llmdemo.settings.schema import document
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    maps = services.maps

    @for_owners
    def map_dataset(dataset_id: str, model_id: str = "starter", settings: dict | None = None) -> dict:
        """Maps a data set by a model's hidden states, in the background; returns job_id. /map_result has the map.

        Keys of settings:
        """
        services.require_owner()
        return {"job_id": maps.start({**(settings or {}), "dataset_id": dataset_id, "model_id": model_id})}

    map_dataset.__doc__ = f"{inspect.getdoc(map_dataset)}\n\n{document(MapSpec)}"

    @for_owners
    def map_status(job_id: str) -> dict:
        """How a map is: state, message, hint, progress {phase, done, total, eta_seconds}, and ready once it can be read."""
        services.require_owner()
        return maps.status(job_id)

    @for_owners
    def map_result(job_id: str) -> dict:
        """A finished map: points [{index (of the kept records), x, y, pca, cluster, density 0 to 1, held_out, loss, ifd,
        loss_after}], clusters [{id, size, terms}], neighbours [[index, cosine] of the five nearest of each record],
        duplicates [[index, index, cosine]] by meaning and duplicates_total, silhouette, explained (by the first two
        principal components)."""
        services.require_owner()
        return maps.whole(job_id)

    @for_owners
    def list_maps() -> list[dict]:
        """All maps, the newest first, each with its job_id first."""
        services.require_owner()
        return maps.list()

    @for_owners
    def stop_map(job_id: str) -> dict:
        """Asks the making of a map to stop; what was read is kept for a resume. Returns its status."""
        services.require_owner()
        return maps.stop(job_id)

    @for_owners
    def resume_map(job_id: str) -> dict:
        """Lets a stopped or failed one go on where it was. Returns its status."""
        services.require_owner()
        return maps.resume(job_id)

    @for_owners
    def delete_map(job_id: str) -> dict:
        """Deletes a map; the data set stays. Returns its job_id."""
        services.require_owner()
        maps.delete(job_id)
        return {"job_id": job_id}

    return [map_dataset, map_status, map_result, list_maps, stop_map, resume_map, delete_map]
