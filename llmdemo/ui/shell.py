"""What stands around the panels: title, live status, the starter model's progress. Knows no panel."""

import gradio as gr

from llmdemo.ui import authentication, bridge
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.services import Services


def header(services: Services) -> gr.HTML:
    """The title line with a live status and who is signed in, and the strip that shows the starter model arriving."""

    @for_guests
    def pulse(_: dict) -> dict:
        """What the header shows, from the disk and the runs; cheap enough to be asked every few seconds."""
        owner = services.is_owner()
        return {
            "starter": services.starter.progress(),
            "guests_only": services.guests_only,
            "runs": _active(services) if owner else [],
            "evaluation": _evaluating(services) if owner else None,
            **_who(services, owner),
        }

    @for_owners
    def retry(_: dict) -> dict:
        services.require_owner()
        services.starter.start()
        return services.starter.progress()

    return bridge.island("header", [pulse, retry], elem_id="header")


def _who(services: Services, owner: bool) -> dict:
    """{"policy", "owner", "name"}: what the header says of who looks at it, and whether it offers to sign in."""
    visitor = authentication.current()
    return {"policy": services.access.policy, "owner": owner, "name": visitor.name if visitor else ""}


def _active(services: Services) -> list[dict]:
    """The runs that are not over, each with what one line can say."""
    keys = ("run_id", "state", "step", "total_steps", "name")
    return [{key: run[key] for key in keys} for run in services.runs.list() if run["state"] in ACTIVE]


def _evaluating(services: Services) -> dict | None:
    """{"done", "total"} of the records that an evaluation on its way has asked of its model; None without one."""
    for each in services.evaluations.list() if services.evaluations else []:
        if each["state"] == "running":
            return {key: each["progress"].get(key, 0) for key in ("done", "total")}
    return None


ACTIVE = ("queued", "starting", "running", "stopping")
"""ResponseAccumulator of a run that is not over."""
