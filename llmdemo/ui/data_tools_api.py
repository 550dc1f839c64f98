"""The named endpoints that map data sets, ask what a model knows of them, select records and look for wrong labels, for scripts.

JSON in, JSON out; knows no widget. Registered by api.py.
"""

from collections.abc import Callable

from llmdemo.settings.knowledge import ProbeSpec
from llmdemo.settings.maps import MapSpec
from llmdemo.settings.selection import SelectionSpec
from llmdemo.ui.endpoints import job_endpoints, takes
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    return [*_maps(services), *_knowledge(services), *_selection(services)]


def _maps(services: Services) -> list[Callable]:
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


def _knowledge(services: Services) -> list[Callable]:
    probes = services.probes

    @for_owners
    @takes(ProbeSpec)
    def probe_knowledge(dataset_id: str, model_id: str = "starter", settings: dict | None = None) -> dict:
        """Sorts questions with short answers by what a model knows already (arXiv 2405.05904), in the background; returns job_id.

        Each question is asked after several sets of examples: highly known (the likeliest answer is right every time), maybe
        known (some times), weakly known (a drawn answer is right) or unknown. Keys of settings:
        """
        return {"job_id": probes.start({**(settings or {}), "dataset_id": dataset_id, "model_id": model_id})}

    @for_owners
    def probe_result(job_id: str, before_id: str = "") -> dict:
        """A finished probe: counts, advice, found [{index of the kept records, class, greedy, sampled, drawn, answer}]. before_id: a
        probe of the same data by another model, as before a run; then lost and learned list the records that changed."""
        return probes.result(job_id, before_id)

    @for_owners
    def run_knowledge(run_id: str) -> dict:
        """What the model of a run knew before, as it learns: evaluations [{step, seconds, groups [{class, trained, n, right, loss}]}],
        lost (was right, is wrong now) and learned. {} for a run without a finished probe of its data by its model."""
        return services.runs.knowledge(run_id)

    return [
        run_knowledge,
        probe_knowledge,
        probe_result,
        *job_endpoints(
            probes,
            "probe",
            "All probes",
            status="How a probe is: state, message, hint, progress {done, total, counts by class, eta_seconds}, "
            "result {asked, counts, advice}.",
            stops="Asks a probe to stop; what was asked is kept for a resume.",
            deletes="Deletes a probe; the data set stays.",
        ),
    ]


def _selection(services: Services) -> list[Callable]:
    selection = services.selection

    @for_owners
    @takes(SelectionSpec)
    def select_records(dataset_id: str, recipe: dict) -> dict:
        """A new version with the records that the recipe selects and all that a run holds out; returns its dataset_id and info.

        With method "chosen", recipe["indices"] lists kept records from 0. Keys of recipe:
        """
        return selection.select(dataset_id, recipe).to_dict()

    @for_owners
    def race_selection(dataset_id: str, config: dict | None = None) -> dict:
        """Queues two runs with the same settings, on a selection and on all that it was selected from, which hold out the same
        records; returns run_ids. config: as for /start_run, without dataset_id."""
        return {"run_ids": selection.race(services.runs, dataset_id, config)}

    @for_owners
    def label_errors(dataset_id: str) -> dict:
        """Labels that may be wrong, by confident learning (arXiv 1911.00068) on out-of-fold probabilities of small models:
        labels, records, suspicious (how many), ranked [{index, place, row, label, suggested, own, other, text, suspicious}], the
        500 most suspicious first, joint (label by confident class)."""
        return selection.label_errors(dataset_id)

    @for_owners
    def mend_labels(dataset_id: str, changes: dict | None = None, drops: list[int] | None = None) -> dict:
        """A new version in which the records at these places have another label (changes {place: label}) or are gone (drops);
        places as /label_errors names them. Returns its dataset_id and info."""
        return selection.mend_labels(dataset_id, changes, drops).to_dict()

    @for_owners
    def telling_words(dataset_id: str) -> dict:
        """Which words tell the classes apart: terms [{term, label, records, chi2, mutual_information}] of the training part, and
        models [{features (chi2, svd, all), k, accuracy, f1}] of logistic regression with k of them on the held-out part."""
        return selection.telling_words(dataset_id)

    return [select_records, race_selection, label_errors, mend_labels, telling_words]
