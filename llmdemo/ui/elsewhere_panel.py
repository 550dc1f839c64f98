"""Beside the runs: train on other machines (assets/train/elsewhere.js). Knows no hub and no widget but its island."""

from llmdemo import prepare
from llmdemo.core.errors import UserError
from llmdemo.ui import authentication, bridge, elsewhere_api
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import with_sample
from llmdemo.ui.services import Services


def build(services: Services) -> None:
    """Builds the island inside the current Blocks context."""
    elsewhere = services.elsewhere

    @for_owners
    def elsewhere_machines(request: dict) -> dict:
        """{"text"}: the run on several machines, for their shells; of the form's settings, or of a run's."""
        values = _values(services, request)
        return prepare.on_machines(services.home, values, request.get("machines"), request.get("processes"))  # type: ignore[arg-type]

    @for_owners
    def elsewhere_hardware(request: dict) -> dict:
        """{"hardware", "models"}: what can be rented, with prices, and presets that a job can fetch. The token is passed on
        and not kept."""
        return {"hardware": elsewhere.hardware(_token(request)), "models": elsewhere.only_there()}

    @for_owners
    def elsewhere_start(request: dict) -> dict:
        """{"job_id"} of a run on rented hardware."""
        values = {**_values(services, request), **_of_the_job(request)}
        hours = request.get("hours")
        return {"job_id": elsewhere.start(values, str(request.get("flavor")), _token(request), hours)}  # type: ignore[arg-type]

    @for_owners
    def elsewhere_list(_: dict) -> dict:
        """{"jobs", "given"}: all runs elsewhere; whether a sign-in gives a token."""
        return {"jobs": elsewhere.list(), "given": bool(authentication.hub_token())}

    functions = [elsewhere_machines, elsewhere_hardware, elsewhere_start, elsewhere_list]
    functions += of_endpoints(elsewhere_api.watching(services))
    bridge.island("elsewhere", functions, elem_id="train-elsewhere")


def _values(services: Services, request: dict) -> dict:
    """The settings that are meant: of the run `run_id`, else those of the form, of which the sample is added first."""
    if run_id := request.get("run_id"):
        return prepare.values_of(services.home, services.runs, str(run_id))
    config = request.get("config")
    if not isinstance(config, dict):
        raise UserError("err_config_no_object")
    return with_sample(services, config)


def _of_the_job(request: dict) -> dict:
    """Settings that are chosen for the job alone: a model that is not here, and a process for each of several GPUs."""
    chosen = {"model_id": request.get("model_id"), "num_processes": request.get("gpus")}
    return {key: value for key, value in chosen.items() if value}


def _token(request: dict) -> str:
    return str(request.get("token") or authentication.hub_token() or "")
