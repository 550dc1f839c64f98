"""The named endpoints of runs on other machines: JSON in, JSON out. Knows no widget; api.py registers them."""

from collections.abc import Callable

from llmdemo import prepare
from llmdemo.ui import authentication
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions whose names and docstrings become endpoints."""
    elsewhere = services.elsewhere

    @for_owners
    def run_on_machines(config: dict, machines: int = 2, processes: int = 1) -> dict:
        """{run_id, text}: a run on several machines of your own, as text for their shells: its folder, and a command for each.

        config: as for /start_run. processes: on each machine, one a GPU. Nothing is started.
        """
        return prepare.on_machines(services.home, config, machines, processes)

    @for_owners
    def list_hardware(token: str = "") -> list[dict]:
        """What can be rented from Hugging Face Jobs now, the cheapest first: name, title, cpu, memory, gpu, gpus, gpu_bytes,
        dollars_per_hour. token: of your account there, by default that of your sign-in; it is not kept."""
        return elsewhere.hardware(token or authentication.hub_token())

    @for_owners
    def start_elsewhere(config: dict, flavor: str, hours: float, token: str = "") -> dict:
        """Begins a run as a Hugging Face Job; returns {job_id}. It costs the hardware's price for the time that it runs.

        config: as for /start_run; model_id may be a preset that is not here. flavor: a name of /list_hardware. hours: the
        most that it may take, from 0.25. token: with the rights to write repositories and to manage Jobs; it is given to the
        job as a secret, and is in no file here. What the job needs, and what it makes, lies in a private repository.
        """
        return {"job_id": elsewhere.start(config, flavor, token or authentication.hub_token(), hours)}

    return [run_on_machines, list_hardware, start_elsewhere, *watching(services)]


def watching(services: Services) -> list[Callable]:
    """What is asked of those that were begun."""
    elsewhere = services.elsewhere

    @for_owners
    def elsewhere_status(job_id: str) -> dict:
        """How a run elsewhere is: state, message, hint, hardware, hours, most_dollars, url and repo on the hub, progress {stage
        (sending, waiting, running, fetching, unreached), step, total_steps, loss, running_seconds …}; run_id once it is in the
        list of runs."""
        return elsewhere.status(job_id)

    @for_owners
    def list_elsewhere() -> list[dict]:
        """All runs elsewhere, the newest first, each with its job_id first."""
        return elsewhere.list()

    @for_owners
    def elsewhere_log(job_id: str, lines: int = 200) -> dict:
        """{text}: the last lines of what a run elsewhere printed there."""
        return {"text": elsewhere.log_tail(job_id, max(1, min(int(lines), 2000)))}

    @for_owners
    def stop_elsewhere(job_id: str) -> dict:
        """Cancels a run elsewhere, here and on the hub; what it learned is lost. Returns its status."""
        return elsewhere.stop(job_id)

    @for_owners
    def resume_elsewhere(job_id: str, token: str = "") -> dict:
        """Finds a run elsewhere that is no longer watched again, or begins another job where it is over. Returns its status."""
        return elsewhere.go_on(job_id, token or authentication.hub_token())

    @for_owners
    def delete_elsewhere(job_id: str) -> dict:
        """Takes a run elsewhere that is over off the list; its repository on the hub stays. Returns its job_id."""
        elsewhere.delete(job_id)
        return {"job_id": job_id}

    return [elsewhere_status, list_elsewhere, elsewhere_log, stop_elsewhere, resume_elsewhere, delete_elsewhere]
