"""The Learn panel: a path of lessons, a quiz, a teacher's page and the resources, drawn by assets/learn/path.js. Knows no lesson."""

from collections.abc import Callable

import gradio as gr

from llmdemo import prepare
from llmdemo.core.assets import FOLDER
from llmdemo.core.errors import UserError
from llmdemo.core.store import read_json
from llmdemo.learn import quiz
from llmdemo.settings.training import TrainConfig
from llmdemo.ui import bridge, interpret_api
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.samples import add_sample
from llmdemo.ui.services import Services

FIRST_RUN = "Start here"
_FIRST_STEPS, _FIRST_TOKENS = 40, 64
_GOING = ("queued", "starting", "running", "stopping")


def build(services: Services) -> gr.HTML:
    """The island, inside the current Blocks context."""
    return bridge.island("lessons", _functions(services), elem_id="lessons")


def _functions(services: Services) -> list[Callable]:
    @for_guests
    def memory(asked: dict) -> dict:
        """See learn.memory.blocks."""
        from llmdemo.learn.memory import blocks

        return blocks(asked.get("size"), asked.get("method"), asked.get("rank"))  # type: ignore[arg-type]

    @for_guests
    def quiz_submit(asked: dict) -> dict:
        return {"count": quiz.submit(services.home, asked.get("code"), asked.get("phase"), asked.get("answers"))}

    @for_owners
    def quiz_table(_: dict) -> dict:
        """The class's answers as CSV; the right ones are those of the page's own data."""
        services.require_owner()
        return {"text": quiz.table(services.home, read_json(FOLDER / "learn" / "lessons.json")["quiz"]["right"])}

    lens, _attribute = interpret_api.for_the_card(services)
    return [memory, quiz_submit, quiz_table, lens, *_first_result(services)]


def _first_result(services: Services) -> tuple[Callable, ...]:
    """What "Start here" does: the sample, a short run, and the same prompt answered before and after it."""

    @for_owners
    def begin(_: dict) -> dict:
        """{"run_id", "prompt", "wanted"}: the first run, which is started unless it is there; a held-out message and its answer."""
        services.require_owner()
        info = add_sample(services)
        known = [run for run in services.runs.list() if run["name"] == FIRST_RUN]
        usable = [run for run in known if run["state"] in _GOING or (run["state"] == "completed" and run["model_id"])]
        settings = {"dataset_id": info.dataset_id, "name": FIRST_RUN, "max_steps": _FIRST_STEPS}
        run_id = usable[0]["run_id"] if usable else prepare.started(services.home, services.runs, settings)["run_id"]
        return {"run_id": run_id, **_held_out(services, info.dataset_id)}

    @for_owners
    def progress(asked: dict) -> dict:
        """See Runs.status; the keys that the lesson shows."""
        services.require_owner()
        status = services.runs.status(str(asked.get("run_id")))
        keys = ("state", "message", "hint", "step", "total_steps", "model_id")
        return {key: status.get(key) for key in keys}

    @for_owners
    def answer(asked: dict) -> dict:
        """{"text"}: the model's greedy answer to a prompt."""
        services.require_owner()
        settings = {"lanes": ["greedy"], "max_new_tokens": _FIRST_TOKENS}
        state: dict = {}
        for each in services.arena.get().compare(str(asked.get("model_id")), asked.get("prompt"), settings):
            state = each
        lanes = list(state.get("lanes", {}).values())
        if not lanes:
            raise UserError("err_no_answer")
        return {"text": lanes[0]["text"]}

    return begin, progress, answer


def _held_out(services: Services, dataset_id: str) -> dict:
    """A message that training does not see, and the answer that is wanted."""
    from llmdemo import data

    records = data.open_records(services.home, dataset_id)
    usual = TrainConfig.from_dict({"dataset_id": dataset_id})
    _, held_out = data.split(records, usual.seed, usual.eval_share)
    turns = records[int(held_out[0])]["messages"]
    return {"prompt": turns[:-1], "wanted": turns[-1]["content"]}
