"""The page on which guests watch a run that its owner shows: state, figures and samples as it goes, and nothing else."""

from typing import Any

import gradio as gr

from llmdemo.core.errors import UserError
from llmdemo.ui import authentication, bridge
from llmdemo.ui.rights import for_guests
from llmdemo.ui.services import Services

_STATUS = ("name", "state", "reason", "step", "total_steps", "loss", "eval_loss", "tokens_per_second", "eta_seconds",
           "phase")  # fmt: skip
_POINTS = 400


def build_page(services: Services, page: gr.Blocks) -> None:
    """Adds the page, which everybody may open."""
    with page.route("Watch", authentication.WATCH_PAGE, show_in_navbar=False):

        @for_guests
        def watch_run(request: dict) -> dict:
            return watched(services, str(request.get("run_id") or ""), str(request.get("seen") or ""))

        bridge.island("watch", [watch_run], elem_id="watch")


def watched(services: Services, run_id: str, seen: str = "") -> dict[str, Any]:
    """{status, seen} of a shown run; where something came since `seen`, also its series and samples.

    Raises UserError alike for a run that is not shown and for one that does not exist: a guest cannot tell them apart.
    """
    try:
        status = services.runs.status(run_id)
    except UserError:
        status = {"shown": False}
    if not status["shown"]:
        raise UserError("err_run_not_shown")
    now = f"{status['attempt']} {status['step']} {status['eval_loss']} {status['state']}"
    told: dict[str, Any] = {"status": {key: status.get(key) for key in _STATUS}, "seen": now}
    if now != seen:
        told |= {"series": services.runs.series(run_id, _POINTS), "samples": services.runs.samples(run_id)}
    return told
