"""Beside a finished run: its model goes to the Hugging Face hub (assets/push.js). Knows no hub."""

from pathlib import Path

from llmdemo.core.spaces import disk_lasts
from llmdemo.ui import authentication, bridge, downloads
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services
from llmdemo.ui.train_pages import run_id_of


def build(services: Services) -> None:
    """Builds the island inside the current Blocks context; it shows itself beside finished runs."""

    @for_owners
    def push_start(request: dict) -> dict:
        """Begins a push; its first state. The token is passed on and not kept."""
        run_id, repo, licence = (str(request.get(key) or "") for key in ("run_id", "repo", "licence"))
        token = request.get("token") or authentication.hub_token()
        private, space = request.get("private") is not False, request.get("space") is True
        language = str(request.get("language") or "en")
        return services.pushes.start(
            run_id, repo, token, private=private, licence=licence, space=space, language=language
        )

    @for_owners
    def push_state(request: dict) -> dict:
        """How the push of a run is, and what the form should know: its licence, whether a token is at hand."""
        run_id = run_id_of(request)
        known = {"token": bool(authentication.hub_token()), "lasts": disk_lasts(services.home.root)}
        return services.pushes.state(run_id) | known | {"licence": services.pushes.licence(run_id)}

    @for_owners
    def push_stop(request: dict) -> dict:
        return services.pushes.stop(run_id_of(request))

    @for_owners
    def push_elsewhere(request: dict) -> dict:
        """What other servers would stumble over in the run's model, and the commands that run it there."""
        return services.pushes.elsewhere(run_id_of(request), str(request.get("repo") or ""))

    def packed(asked: dict, folder: Path) -> Path:
        """The .zip with the model and a page that runs alone."""
        services.require_owner()
        return services.pushes.packed(run_id_of(asked), folder)

    functions = [push_start, push_state, push_stop, push_elsewhere]
    island = bridge.island("push", functions, events=["submit"], elem_id="train-push")
    note = bridge.island("notice", elem_id="train-push-note")
    downloads.on_request(island.submit, packed, note, "train-folder")
