"""The named endpoints that ask what a model knows already, for scripts. Knows no widget. Registered by api.py."""

import inspect
from collections.abc import Callable

from llmdemo.settings.knowledge import ProbeSpec
from llmdemo.settings.schema import document
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    probes = services.probes

    @for_owners
    def probe_knowledge(dataset_id: str, model_id: str = "starter", settings: dict | None = None) -> dict:
        """Sorts questions with short answers by what a model knows already (arXiv 2405.05904), in the background; returns job_id.

        Each question is asked after several sets of examples: highly known (the likeliest answer is right every time), maybe
        known (some times), weakly known (a drawn answer is right) or unknown. Keys of settings:
        """
        services.require_owner()
        return {"job_id": probes.start({**(settings or {}), "dataset_id": dataset_id, "model_id": model_id})}

    probe_knowledge.__doc__ = f"{inspect.getdoc(probe_knowledge)}\n\n{document(ProbeSpec)}"

    @for_owners
    def probe_status(job_id: str) -> dict:
        """How a probe is: state, message, hint, progress {done, total, counts by class, eta_seconds}, result {asked, counts, advice}."""
        services.require_owner()
        return probes.status(job_id)

    @for_owners
    def probe_result(job_id: str, before_id: str = "") -> dict:
        """A finished probe: counts, advice, found [{index of the kept records, class, greedy, sampled, drawn, answer}]. before_id: a
        probe of the same data by another model, as before a run; then lost and learned list the records that changed."""
        services.require_owner()
        return probes.result(job_id, before_id)

    @for_owners
    def run_knowledge(run_id: str) -> dict:
        """What the model of a run knew before, as it learns: evaluations [{step, seconds, groups [{class, trained, n, right, loss}]}],
        lost (was right, is wrong now) and learned. {} for a run without a finished probe of its data by its model."""
        services.require_owner()
        return services.runs.knowledge(run_id)

    return [run_knowledge, probe_knowledge, probe_status, probe_result, *_job_endpoints(services)]


def _job_endpoints(services: Services) -> list[Callable]:
    probes = services.probes

    @for_owners
    def list_probes() -> list[dict]:
        """All probes, the newest first, each with its job_id first."""
        services.require_owner()
        return probes.list()

    @for_owners
    def stop_probe(job_id: str) -> dict:
        """Asks a probe to stop; what was asked is kept for a resume. Returns its status."""
        services.require_owner()
        return probes.stop(job_id)

    @for_owners
    def resume_probe(job_id: str) -> dict:
        """Lets a stopped or failed one go on where it was. Returns its status."""
        services.require_owner()
        return probes.resume(job_id)

    @for_owners
    def delete_probe(job_id: str) -> dict:
        """Deletes a probe; the data set stays. Returns its job_id."""
        services.require_owner()
        probes.delete(job_id)
        return {"job_id": job_id}

    return [list_probes, stop_probe, resume_probe, delete_probe]
