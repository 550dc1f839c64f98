"""The named endpoints that map data sets, for scripts. JSON in, JSON out; knows no widget. Registered by api.py."""

from collections.abc import Callable

from llmdemo.settings.maps import MapSpec
from llmdemo.ui.endpoints import job_endpoints, takes
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    maps = services.maps

    @for_owners
    @takes(MapSpec)
    def map_dataset(dataset_id: str, model_id: str = "starter", settings: dict | None = None) -> dict:
        """Maps a data set by a model's hidden states, in the background; returns job_id. /map_result has the map.

        Keys of settings:
        """
        return {"job_id": maps.start({**(settings or {}), "dataset_id": dataset_id, "model_id": model_id})}

    @for_owners
    def map_result(job_id: str) -> dict:
        """A finished map: points [{index (of the kept records), x, y, pca, cluster, density 0 to 1, held_out, loss, ifd,
        loss_after}], clusters [{id, size, terms}], neighbours [[index, cosine] of the five nearest of each record],
        duplicates [[index, index, cosine]] by meaning and duplicates_total, silhouette, explained (by the first two
        principal components)."""
        return maps.whole(job_id)

    return [
        map_dataset,
        map_result,
        *job_endpoints(
            maps,
            "map",
            "All maps",
            status="How a map is: state, message, hint, progress {phase, done, total, eta_seconds}, and ready once it can "
            "be read.",
            stops="Asks the making of a map to stop; what was read is kept for a resume.",
            deletes="Deletes a map; the data set stays.",
        ),
    ]
