"""One raw row as normalised records, by its task and by which column plays which role. Knows no files.

A converter takes a row, the roles and the notes, and returns records as shapes.py describes them; it raises Bad.
"""

from llmdemo.core.sentences import say
from llmdemo.data import tokenised
from llmdemo.data.columns import find
from llmdemo.data.turns import as_turns, close, parse_transcript, strip_prompt, turns_in
from llmdemo.data.values import MOST_ANSWERS, Bad, Notes, answers_in, as_json, as_text, unpacked, whole_characters

LONGEST_KIND = 80
"""Characters of a kind's name: longer texts name none."""


def _chat(row: dict, roles: dict, notes: Notes) -> list[dict]:
    if "desired" in roles and _is_false(row.get(roles["desired"])):
        notes.codes.add("undesired")  # left out by that filter; the task kto learns from it
    if "messages" in roles:
        turns = as_turns(row.get(roles["messages"]), notes)
        system = as_text(row.get(roles["system"]), notes) if "system" in roles else ""
        if system.strip() and (not turns or turns[0]["role"] != "system"):
            turns.insert(0, {"role": "system", "content": system})
        return [close(turns)]
    if roles["prompt"] not in row and roles["response"] not in row:
        raise Bad(
            "wrong_shape",
            say("reason_neither", prompt=repr(roles["prompt"][:40]), response=repr(roles["response"][:40])),
        )
    return [close(_answered(_question(row, roles, notes), row.get(roles["response"]), notes))]


def _answered(before: list[dict], answer, notes: Notes) -> list[dict]:
    """The turns before an answer and the answer: a text, or turns (TRL's), with or without those before."""
    turns = turns_in(answer)
    if turns is None:
        first, *others = answers_in(answer, notes)
        return [*before, {"role": "assistant", "content": first, **({"alternatives": others} if others else {})}]
    turns = as_turns(turns, notes)
    return turns if turns[: len(before)] == before else [*before, *turns]


def alternatives(value, record: dict, notes: Notes) -> list[str]:
    """The other right answers of a conversation: those that stood with its answer, and those of a column of their own."""
    found = unpacked(value)
    if not isinstance(found, list):
        found = [] if found in (None, "", {}) else [found]
    texts = [*record.get("alternatives", ()), *found]
    if not all(isinstance(text, str) for text in texts):
        raise Bad("wrong_shape", say("reason_other_answers"))
    others = dict.fromkeys(whole_characters(text) for text in texts if text.strip())
    others.pop(record["messages"][-1]["content"], None)
    if others:
        notes.codes.add("alternatives")
    return list(others)[:MOST_ANSWERS]


def kind_of(value) -> str | None:
    """The name of a record's kind, None for none: what is no short text or number names none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        return None
    text = whole_characters(str(value)).strip()
    return text if text and len(text) <= LONGEST_KIND else None


def _is_false(value) -> bool:
    return value is not None and str(value).strip().lower() in ("false", "0", "0.0")


def _question(row: dict, roles: dict, notes: Notes) -> list[dict]:
    """System, earlier turns and the instruction with its input: what stands before the answer."""
    turns = []
    system = as_text(row.get(roles["system"]), notes) if "system" in roles else ""
    if system.strip():
        turns.append({"role": "system", "content": system})
    history = unpacked(row.get(roles["history"])) if "history" in roles else None
    if isinstance(history, str | dict) and history:
        raise Bad("wrong_roles", say("reason_history"))
    for pair in history if isinstance(history, list) else ():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Bad("wrong_roles", say("reason_history"))
        turns += [
            {"role": role, "content": as_text(text, notes)}
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
    prompt = row.get(roles["prompt"])
    extra = as_text(row.get(roles["input"]), notes) if "input" in roles else ""
    if (asked := turns_in(prompt)) is not None:
        asked = as_turns(asked, notes)
        if system.strip() and asked and asked[0]["role"] == "system":
            turns = turns[1:]
        return [*turns, *asked, *([{"role": "user", "content": extra}] if extra.strip() else [])]
    return [*turns, {"role": "user", "content": _joined(as_text(prompt, notes), extra)}]


def _joined(prompt: str, extra: str) -> str:
    return f"{prompt}\n\n{extra}" if prompt.strip() and extra.strip() else prompt if prompt.strip() else extra


def tools_text(value, notes: Notes) -> str | None:
    """The tools of a conversation as the JSON of a list of OpenAI's tool objects; None for none. Raises Bad."""
    tools = unpacked(value)
    if tools in (None, "", [], {}):
        return None
    tools = tools if isinstance(tools, list) else [tools]
    if not all(isinstance(tool, dict) for tool in tools):
        raise Bad("wrong_shape", say("reason_tools"))
    wrapped = [
        {"type": "function", "function": tool} if "name" in tool and "function" not in tool else tool for tool in tools
    ]
    return as_json(wrapped)


def _instances(row: dict, roles: dict, notes: Notes) -> list[dict]:
    instances = row.get(roles["instances"])
    if not isinstance(instances, list) or not instances:
        raise Bad("empty_response", say("reason_no_instances"))
    records = []
    for instance in instances:
        if not isinstance(instance, dict):
            raise Bad("wrong_shape", say("reason_instance"))
        names = {key.strip().lower(): key for key in instance}
        answer = find("response", names)
        notes.leave(instance.keys() - {names.get("input"), answer}, instance)
        merged = {roles["prompt"]: row.get(roles["prompt"]), "input": instance.get(names.get("input", "input"))}
        turns = _question(merged, {"prompt": roles["prompt"], "input": "input"}, notes)
        records.append(close(_answered(turns, instance.get(answer), notes)))
    return records


def _text(row: dict, roles: dict, notes: Notes) -> list[dict]:
    text = as_text(row.get(roles["text"]), notes)
    if not text.strip():
        raise Bad("empty_response", say("reason_no_plain_text"))
    return [{"text": text}]


def _classify(row: dict, roles: dict, notes: Notes) -> list[dict]:
    text, label = as_text(row.get(roles["text"]), notes), _label(row.get(roles["label"]), notes)
    if not text.strip():
        raise Bad("empty_instruction", say("reason_no_plain_text"))
    if not label:
        raise Bad("empty_response", say("reason_no_label"))
    if len(label) > 200:
        raise Bad("wrong_shape", say("reason_long_label"))
    return [{"text": text, "label": label}]


def _label(value, notes: Notes) -> str:
    """A label's text. Numbers that are equal are one label: 1.0 is 1. Raises Bad for several labels."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list) and len(value) == 1:
        return _label(value[0], notes)
    if isinstance(value, list | dict) and value:
        raise Bad("wrong_shape", say("reason_labels"))
    return as_text(value, notes).strip()


def _preference(row: dict, roles: dict, notes: Notes) -> list[dict]:
    chosen, rejected = row.get(roles["chosen"]), row.get(roles["rejected"])
    prompt = None
    if "messages" in roles:
        prompt = _plain(as_turns(row.get(roles["messages"]), notes))
    elif "prompt" in roles and isinstance(row.get(roles["prompt"]), list):
        prompt = _plain(as_turns(row[roles["prompt"]], notes))
    elif "prompt" in roles:
        prompt = _plain(_question(row, roles, notes))
    elif isinstance(chosen, str) and isinstance(rejected, str):
        chosen, rejected = parse_transcript(chosen), parse_transcript(rejected)
    (before, good), (other, bad) = strip_prompt(chosen, prompt, notes), strip_prompt(rejected, prompt, notes)
    if before != other:
        raise Bad("wrong_roles", say("reason_prompts"))
    if good.strip() == bad.strip():
        raise Bad("same_answers", say("reason_same"))
    if not good.strip() or not bad.strip():
        raise Bad("empty_response", say("reason_empty_answer"))
    checked = close([*before, {"role": "assistant", "content": good}])
    return [{"messages": checked["messages"][:-1], "chosen": good, "rejected": bad}]


def _plain(turns: list[dict]) -> list[dict]:
    """The turns of a prompt: nothing of them is learned."""
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


CONVERTERS = {
    "chat": _chat,
    "instances": _instances,
    "text": _text,
    "classify": _classify,
    "preference": _preference,
    tokenised.SHAPE: lambda row, roles, notes: [tokenised.record_of(row)],
}
"""By task, and for the shapes "instances", whose rows make several records, and of token ids."""
