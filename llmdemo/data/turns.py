"""Turns of a conversation out of what files hold: roles, their order, and which of them are to be learned.

Knows no columns and no files. A turn here is {"role", "content"}, with "train" False where the file says that it is
not to be learned, and "reasoning" where it has any.
"""

from llmdemo.core.sentences import say
from llmdemo.data.values import (
    Bad,
    Notes,
    as_json,
    as_text,
    is_parts,
    parts_text,
    unpacked,
    whole_characters,
)

ROLE_NAMES = {
    **dict.fromkeys(("user", "human", "prompter", "question", "instruction"), "user"),
    **dict.fromkeys(
        ("assistant", "gpt", "bot", "model", "chatgpt", "bard", "bing", "answer", "function_call"), "assistant"
    ),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "observation", "function", "ipython", "tool_response", "function_response"), "tool"),
}
_TEXT_KEYS = ("content", "value", "text")
_MARKS = (("\n\nHuman:", "user"), ("\n\nAssistant:", "assistant"))

_TRAIN_KEYS = ("weight", "train", "training", "train_on_turn", "loss")
"""What says of a turn whether it is learned: OpenAI's weight, axolotl's train and training, ms-swift's loss."""
_TOLD = {1: True, 0: False, "true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
_CALLS = ("tool_calls", "function_call")
_USED = frozenset(("role", "from", *_TEXT_KEYS, *_TRAIN_KEYS, *_REASONING_KEYS, *_CALLS, "train_detail"))


def turns_in(value) -> list | None:
    """The raw turns that a cell holds, also inside a string; None where it is no conversation."""
    if isinstance(value, str):
        if not ("role" in value or "from" in value):
            return None
        value = unpacked(value)
    if isinstance(value, dict) and isinstance(value.get("messages"), list):  # OpenAI's input of a preference
        value = value["messages"]
    if isinstance(value, dict) and ("role" in value or "from" in value):
        lists = [key for key, each in value.items() if isinstance(each, list) and key in ("role", "from")]
        value = _by_key(value) if lists else [value]
    whole = isinstance(value, list) and bool(value)
    if whole and all(isinstance(pair, dict) and pair.keys() == {"input", "output"} for pair in value):  # Capybara's
        sides = (("user", "input"), ("assistant", "output"))
        return [{"role": role, "content": pair[key]} for pair in value for role, key in sides]
    return (
        value
        if whole and all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in value)
        else None
    )


def _by_key(value: dict) -> list[dict] | None:
    """{"role": [a, b], "content": [c, d]}, as `datasets` stores a sequence of objects, turned into a list of turns."""
    lists = {key: each for key, each in value.items() if isinstance(each, list)}
    if len({len(each) for each in lists.values()}) != 1:
        return None
    return [dict(zip(lists, each, strict=True)) for each in zip(*lists.values(), strict=True)]


def as_turns(turns, notes: Notes) -> list[dict]:
    """The turns with roles system, user, assistant, tool. Raises Bad.

    A list of strings takes turns between user and assistant. The calls of a tool are kept as JSON in the
    assistant's text.
    """
    found = turns_in(turns)
    if found is None:
        found = unpacked(turns)
    if not isinstance(found, list):
        raise Bad("wrong_shape", say("reason_no_turns"))
    if found and all(isinstance(turn, str) for turn in found):
        return [
            {"role": ("user", "assistant")[i % 2], "content": whole_characters(turn)} for i, turn in enumerate(found)
        ]
    return [_as_turn(turn, notes) for turn in found]


def _as_turn(turn, notes: Notes) -> dict:
    if not isinstance(turn, dict):
        raise Bad("wrong_shape", say("reason_odd_turn"))
    name = turn.get("role", turn.get("from"))
    role = ROLE_NAMES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise Bad("wrong_roles", say("reason_role", role=repr(str(name)[:40])))
    content = next((turn[key] for key in _TEXT_KEYS if turn.get(key) is not None), None)
    if isinstance(content, str) and len(turn) == 2:
        return {"role": role, "content": whole_characters(content)}
    made = {"role": role}
    made["content"] = _content(content, made, notes)
    _read_marks(turn, made, notes)
    calls = turn.get("tool_calls") or turn.get("function_call")
    if calls:
        made["content"] = "\n".join(part for part in (made["content"], _calls(calls)) if part)
    notes.leave(turn.keys() - _USED, turn)
    return made


def _content(content, made: dict, notes: Notes) -> str:
    """The text of a turn: parts and lists of texts are joined; a part that holds reasoning goes into `made`."""
    if isinstance(content, list) and content and all(isinstance(part, str) for part in content):
        return "".join(map(whole_characters, content))
    if not is_parts(content):
        if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
            return parts_text([{"type": "text", **part} for part in content], notes)
        return as_text(content, notes)
    thoughts = [part for part in content if part["type"] in ("thinking", "reasoning")]
    if thoughts:
        texts = [part.get("thinking") or part.get("reasoning") or part.get("text") for part in thoughts]
        made["reasoning"] = "\n".join(as_text(text, notes) for text in texts)
    return parts_text([part for part in content if part not in thoughts], notes) if content != thoughts else ""


def _read_marks(turn: dict, made: dict, notes: Notes) -> None:
    """What else a turn tells: whether it is learned, and the reasoning before its answer."""
    learned = _is_learned(turn)
    if made["role"] == "assistant":
        if learned is False:
            made["train"] = False
        reasoning = next((turn[key] for key in _REASONING_KEYS if turn.get(key)), None)
        if reasoning is not None:
            made["reasoning"] = as_text(reasoning, notes)
    elif learned and turn.get("weight") is None:
        notes.unused.add("train (of turns that are not the assistant's)")


def _is_learned(turn: dict) -> bool | None:
    """Whether the file says that this turn is to be learned; None where it says nothing."""
    told = None
    for key in _TRAIN_KEYS:
        value = turn.get(key)
        if value is None:
            continue
        known = _TOLD.get(value.strip().lower() if isinstance(value, str) else value) if _plain(value) else None
        if known is None:
            raise Bad("wrong_shape", say("reason_weight", key=key, value=repr(str(value)[:40])))
        told = known if told is None else told and known
    detail = [part.get("train") for part in turn.get("train_detail") or () if isinstance(part, dict)]
    if False in detail:
        if True in detail:
            raise Bad("partly_learned", say("reason_partly_learned"))
        return False
    return told


def _plain(value) -> bool:
    return isinstance(value, str | bool | int | float)


def raw_turns(record: dict) -> list[dict]:
    """The turns of a normalised record as a file would hold them: with "weight" and "reasoning_content"."""
    left, reasoning = record.get("untrained") or (), record.get("reasoning") or ()
    turns = [dict(turn) for turn in record["messages"]]
    for place, turn in enumerate(turns):
        if place in left:
            turn["weight"] = 0
        if place < len(reasoning) and reasoning[place]:
            turn["reasoning_content"] = reasoning[place]
    return turns


def _calls(calls) -> str:
    """Tool calls as JSON, one a line: {"name", "arguments"}, the arguments as an object where they are one."""
    lines = []
    for call in calls if isinstance(calls, list) else [calls]:
        call = call.get("function", call) if isinstance(call, dict) else call
        if not isinstance(call, dict) or "name" not in call:
            raise Bad("wrong_shape", say("reason_tool_call"))
        arguments = call.get("arguments", {})
        lines.append(as_json({"name": call["name"], "arguments": unpacked(arguments)}))
    return "\n".join(lines)


def close(turns: list[dict]) -> dict:
    """{"messages"} of turns in a right order that end with an answer that is learned; raises Bad.

    Turns after the last such answer are left off: nothing can be learned from them; "cut_turns" then counts them.
    "untrained" has the indices of answers that are not to be learned, "reasoning" the reasoning of each turn (or
    None), "alternatives" other right answers than the last turn, where there are any.
    """
    answers = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
    if not answers:
        raise Bad("empty_response", say("reason_no_answer"))
    learned = [i for i in answers if turns[i].get("train") is not False]
    if not learned:
        raise Bad("not_learned", say("reason_not_learned"))
    kept = turns[: learned[-1] + 1]
    before = "start"
    for turn in kept:
        role = turn["role"]
        if role not in _AFTER[before]:
            place = say("place_begins") if before == "start" else say("place_after", before=before)
            raise Bad("wrong_roles", say("reason_role_order", place=place, role=role, roles=list(_AFTER[before])))
        before = role
    if not all(kept[i]["content"].strip() for i in learned):
        raise Bad("empty_response", say("reason_empty_answer"))
    if not any(turn["content"].strip() for turn in kept if turn["role"] == "user"):
        raise Bad("empty_instruction", say("reason_empty_instruction"))
    record: dict = {"messages": kept}
    if any(len(turn) > 2 for turn in kept):
        record = {"messages": [{"role": turn["role"], "content": turn["content"]} for turn in kept]}
        if untrained := [i for i in answers if i < len(kept) and i not in learned]:
            record["untrained"] = untrained
        if any(turn.get("reasoning") for turn in kept):
            record["reasoning"] = [turn.get("reasoning") or None for turn in kept]
        if kept[-1].get("alternatives"):
            record["alternatives"] = kept[-1]["alternatives"]
    if len(kept) < len(turns):
        record["cut_turns"] = len(turns) - len(kept)
    return record


_AFTER = {
    "start": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}


def strip_prompt(answer, prompt: list[dict] | None, notes: Notes) -> tuple[list[dict], str]:
    """(turns before the answer, the answer) of one side of a preference: a text, a turn, or a whole conversation."""
    found = turns_in(answer)
    if found is None and not isinstance(answer, list):
        if prompt is None:
            raise Bad("empty_instruction", say("reason_no_prompt"))
        return prompt, as_text(answer, notes)
    turns = as_turns(answer if found is None else found, notes)
    if not turns or turns[-1]["role"] != "assistant":
        raise Bad("wrong_roles", say("reason_answer_end"))
    if turns[-1].get("reasoning"):
        notes.unused.add("reasoning_content")
    before = [{"role": turn["role"], "content": turn["content"]} for turn in turns[:-1]]
    if not before and prompt is not None:
        before = prompt
    if not before:
        raise Bad("empty_instruction", say("reason_no_prompt"))
    return before, turns[-1]["content"]


def parse_transcript(text: str) -> list[dict] | str:
    """A transcript "\\n\\nHuman: … \\n\\nAssistant: …" (Anthropic's HH-RLHF) as turns; any other text as it is."""
    if not text.startswith("\n\nHuman:"):
        return text
    turns: list[dict] = []
    at, role = len("\n\nHuman:"), "user"
    while True:
        places = [(text.find(mark, at), mark, name) for mark, name in _MARKS]
        places = sorted(place for place in places if place[0] >= 0)
        turns.append({"role": role, "content": text[at : places[0][0] if places else None].strip()})
        if not places:
            return turns
        at, role = places[0][0] + len(places[0][1]), places[0][2]
