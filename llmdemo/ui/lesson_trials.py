"""What lessons ask of models and data: the visitor's own where they are the owner, else the starter and the sample. Knows no lesson."""

import json
from collections.abc import Callable
from functools import cache

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.data.encode import NOT_TRAINED
from llmdemo.data.records import Records
from llmdemo.learn.prepared import FIRST_RUN
from llmdemo.ui import interpret_api
from llmdemo.ui.learn_panel import LearnPages
from llmdemo.ui.lesson_runs import is_raced
from llmdemo.ui.rights import for_guests, for_owners
from llmdemo.ui.samples import is_sample, sample_path
from llmdemo.ui.services import Services

_MOST_RECORDS, _SHOWN_TOKENS, _MOST_LISTED = 16, 512, 50
_MOST_NEW_TOKENS, _MOST_CHARACTERS = 64, 8000
_LANES = ("greedy", "top_k", "top_p", "sample", "beam")


def functions(services: Services) -> list[Callable]:
    """The island's functions, each over one JSON object."""
    return [*_materials(services), *_model_trials(services), *_answers(services)]


def _materials(services: Services) -> list[Callable]:
    """Which data and models there are, records, tokens, and a loss in numbers."""

    @for_guests
    def things(_: dict) -> dict:
        """{"models": [{id, title, kind}], "first": the first lesson's model, where there is one, "datasets": [{id, name,
        task}]}: what may be chosen; guests have no data."""
        models = [{key: each[key] for key in ("id", "title", "kind")} for each in services.arena.get().models()]
        own = data.list_datasets(services.home) if services.is_owner() else []
        # The sample is there without being added.
        chosen = [each for each in own if each.kept and not is_sample(each) and not is_raced(each)]
        datasets = [{"id": each.dataset_id, "name": each.name, "task": each.task} for each in chosen]
        first = next((each["id"] for each in models if (each["kind"], each["title"]) == ("run", FIRST_RUN)), None)
        return {"models": models[:_MOST_LISTED], "datasets": datasets[:_MOST_LISTED], "first": first}

    @for_guests
    def records(asked: dict) -> dict:
        """{"records": [{prompt: messages, answer} or {text}]}: held-out ones of a data set, or of the sample."""
        dataset_id = str(asked.get("dataset_id") or "")
        count = asked.get("count")
        most = min(max(1, count if type(count) is int else 8), _MOST_RECORDS)
        if dataset_id:
            services.require_owner()
            found = _held_out(data.open_records(services.home, dataset_id), most)
        else:
            found = _samples()[:most]
        return {"records": found}

    @for_guests
    def tokens(asked: dict) -> dict:
        """{"tokens", "template": whether the model has one}: a conversation as a model's template writes it (data.token_view), with what is trained of it; one that
        ends with a user's turn up to where the answer begins."""
        interpret_api.known_only(services, str(asked.get("model_id")))
        tokenizer = services.tokenizers.get(str(asked.get("model_id")))
        loss_on = "all" if asked.get("loss_on") == "all" else "response"
        turns = _turns(asked.get("messages"))
        if turns[-1]["role"] == "assistant":
            rows = data.view_record({"messages": turns, "row": 1}, tokenizer, _SHOWN_TOKENS, loss_on, _SHOWN_TOKENS)
            return {"tokens": rows[0]["tokens"], "template": bool(tokenizer.chat_template)}
        ids = data.encode_prompt(turns, tokenizer)
        row = data.Encoded(ids, [NOT_TRAINED] * len(ids))
        shown = data.token_view(row, tokenizer, _SHOWN_TOKENS)
        return {"tokens": shown, "template": bool(tokenizer.chat_template)}

    pages = LearnPages(services)

    @for_owners
    def numbers(asked: dict) -> dict:
        """See LearnPages.numbers."""
        return pages.numbers(asked)

    return [things, records, tokens, numbers]


def _model_trials(services: Services) -> list[Callable]:
    """What a loaded model says of texts: see learn.trials."""

    def loaded(asked: dict):
        """The model that is asked for; with "base", the one that this one, a run's, started from."""
        model_id = str(asked.get("model_id"))
        interpret_api.known_only(services, model_id)
        if asked.get("base") is True:
            from llmdemo.interpret.service import base_of

            model_id = base_of(services.home, model_id)
        return interpret_api.alone(services, model_id)

    @for_guests
    def surprises(asked: dict) -> dict:
        with loaded(asked) as model:
            from llmdemo.learn import trials

            return {"texts": trials.surprises(model, asked.get("texts"))}

    @for_guests
    def questions(asked: dict) -> dict:
        with loaded(asked) as model:
            from llmdemo.learn import trials

            return {"pairs": trials.questions(model, asked.get("count", 3), asked.get("seed", 0))}

    @for_guests
    def several(asked: dict) -> dict:
        with loaded(asked) as model:
            from llmdemo.learn import trials

            prompt, wanted = asked.get("prompt"), asked.get("wanted")
            return {"answers": trials.several(model, prompt, wanted, asked.get("count", 8), asked.get("seed", 0))}

    @for_guests
    def judged(asked: dict) -> dict:
        with loaded(asked) as model:
            from llmdemo.learn import trials

            return {"pairs": trials.judged(model, asked.get("pairs"), asked.get("criteria"))}

    return [surprises, questions, several, judged]


def _answers(services: Services) -> list[Callable]:
    @for_guests
    def answers(asked: dict) -> dict:
        """{"lanes": {name: {text, token_ids, logprobs, metrics, …}}} of up to five strategies, 64 tokens at most."""
        model_id = str(asked.get("model_id"))
        interpret_api.known_only(services, model_id)
        lanes = [name for name in _LANES if name in (asked.get("lanes") or ["greedy"])]
        most = asked.get("max_new_tokens")
        settings = {"lanes": lanes, "max_new_tokens": min(most if type(most) is int else 32, _MOST_NEW_TOKENS)}
        if type(asked.get("seed")) is int:
            settings["seed"] = asked["seed"]
        state: dict = {}
        with interpret_api.place_for(model_id):
            arena = services.arena.get()
            for each in arena.compare(model_id, asked.get("prompt"), settings, limits=services.limits()):
                state = each
        if not state.get("lanes"):
            raise UserError("err_no_answer")
        return {"lanes": state["lanes"]}

    return [answers]


def _held_out(records: Records, most: int) -> list[dict]:
    from llmdemo.settings.training import TrainConfig

    usual = TrainConfig.from_dict({"dataset_id": records.info.dataset_id})
    _, held_out = data.split(records, usual.seed, usual.eval_share)
    indices = held_out if len(held_out) else range(len(records))
    return [_shown(records[int(index)]) for index in indices[:most]]


def _shown(record: dict) -> dict:
    if "chosen" in record:
        return {"prompt": record["messages"], "answer": record["chosen"]}
    if "messages" not in record:
        return {"text": record["text"]}
    turns = record["messages"]
    last = max((n for n, turn in enumerate(turns) if turn["role"] == "assistant"), default=0)
    return {"prompt": turns[:last], "answer": turns[last]["content"]}


@cache
def _samples() -> list[dict]:
    """The sample's held-out records, read where no data set is to be added."""
    rows = json.loads(sample_path().read_text(encoding="utf-8"))
    return [
        {
            "prompt": [{"role": "user", "content": f"{row['instruction']}\n\n{row['input']}"}],
            "answer": row["output"],
        }
        for row in rows
        if row["split"] == "eval"
    ]


def _turns(value) -> list[dict]:
    """Turns of a conversation from the page. Raises UserError."""
    from llmdemo.arena.prompt import Prompt

    turns = value if isinstance(value, list) else []
    answered = bool(turns) and isinstance(turns[-1], dict) and turns[-1].get("role") == "assistant"
    asked = [*Prompt.from_value(turns[:-1] if answered else turns).messages]
    if sum(len(turn["content"]) for turn in asked) > _MOST_CHARACTERS:
        raise UserError("err_lesson_text", name="messages", most=_MOST_CHARACTERS)
    if not answered:
        return asked
    return [*asked, {"role": "assistant", "content": str(turns[-1].get("content", ""))[:_MOST_CHARACTERS]}]
