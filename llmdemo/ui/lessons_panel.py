"""The Learn panel: a path of lessons, a quiz, a teacher's page and the resources, drawn by assets/learn/path.js. Knows no lesson."""

from collections.abc import Callable

import gradio as gr

from llmdemo.core.assets import FOLDER
from llmdemo.core.store import read_json
from llmdemo.learn import quiz
from llmdemo.ui import bridge, interpret_api, lesson_runs, lesson_trials
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.services import Services


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
        return {"text": quiz.table(services.home, read_json(FOLDER / "learn" / "lessons.json")["quiz"]["right"])}

    lens, attribute = interpret_api.for_the_card(services)
    more = [*lesson_trials.functions(services), *lesson_runs.functions(services)]
    return [memory, quiz_submit, quiz_table, lens, attribute, *more]
