"""Beside a finished run: its model goes to the Hugging Face hub (assets/push.js). Knows no hub."""

from llmdemo.core.errors import UserError
from llmdemo.core.spaces import disk_lasts
from llmdemo.ui import authentication, bridge
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def build(services: Services) -> None:
    """Builds the island inside the current Blocks context; it shows itself beside finished runs."""

    @for_owners
    def push_start(request: dict) -> dict:
        """Begins a push; its first state. The token is passed on and not kept."""
        services.require_owner()
        run_id, repo, licence = (str(request.get(key) or "") for key in ("run_id", "repo", "licence"))
        token = request.get("token") or authentication.hub_token()
        return services.pushes.start(run_id, repo, token, private=request.get("private") is not False, licence=licence)

    @for_owners
    def push_state(request: dict) -> dict:
        """How the push of a run is, and what the form should know: its licence, whether a token is at hand."""
        services.require_owner()
        run_id = _id(request)
        known = {"token": bool(authentication.hub_token()), "lasts": disk_lasts(services.home.root)}
        return services.pushes.state(run_id) | known | {"licence": services.pushes.licence(run_id)}

    @for_owners
    def push_stop(request: dict) -> dict:
        services.require_owner()
        return services.pushes.stop(_id(request))

    bridge.island("push", [push_start, push_state, push_stop], elem_id="train-push")


def _id(request: dict) -> str:
    run_id = request.get("run_id")
    if not isinstance(run_id, str):
        raise UserError("err_run_unnamed")
    return run_id
