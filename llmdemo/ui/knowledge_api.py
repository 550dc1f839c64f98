"""The named endpoints that ask what a model knows already, for scripts. Knows no widget. Registered by api.py."""

from collections.abc import Callable

from llmdemo.settings.knowledge import ProbeSpec
from llmdemo.ui.endpoints import job_endpoints, takes
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
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
