"""Turns of a conversation out of what files hold: roles, their order, and values that are not strings.

Knows no columns and no files.
"""

import orjson

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


class Bad(Exception):
    """A row that makes no record: a code of checks.CODES, and the reason, as the end of a sentence "Row 3 …"."""

    def __init__(self, code: str, reason: str):
        super().__init__(reason)
        self.code, self.reason = code, reason


def as_text(value) -> str:
    """A cell's text: "" for null; numbers, lists and objects as JSON. Lone surrogates become U+FFFD."""
    if value is None:
        return ""
    if not isinstance(value, str):
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
            return as_text(value[0])
        try:
            return orjson.dumps(value).decode()
        except (TypeError, ValueError, RecursionError) as error:
            if type(value) in (int, float, bytes):
                return str(value)
            raise Bad("wrong_shape", "has a value that cannot be written as text") from error
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def as_turns(turns) -> list[dict]:
    """The turns as [{"role", "content"}, …] with roles system, user, assistant, tool. Raises Bad.

    A list of strings takes turns between user and assistant. The calls of a tool are kept as JSON in the
    assistant's text.
    """
    if not isinstance(turns, list):
        raise Bad("wrong_shape", "has no list of turns")
    if turns and all(isinstance(turn, str) for turn in turns):
        return [{"role": ("user", "assistant")[i % 2], "content": as_text(turn)} for i, turn in enumerate(turns)]
    return [_as_turn(turn) for turn in turns]


def _as_turn(turn) -> dict:
    if not isinstance(turn, dict):
        raise Bad("wrong_shape", "has a turn that is not an object with a role and a text")
    name = turn.get("role", turn.get("from"))
    role = ROLE_NAMES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise Bad("wrong_roles", f"has the role {str(name)[:40]!r}")
    content = next((turn[key] for key in _TEXT_KEYS if turn.get(key) is not None), None)
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        content = _parts(content)
    text = as_text(content)
    calls = turn.get("tool_calls") or turn.get("function_call")
    if calls:
        text = "\n".join(part for part in (text, _calls(calls)) if part)
    return {"role": role, "content": text}


def _parts(parts: list[dict]) -> str:
    """The text of a turn that is given in parts, as multimodal chats are; other parts than text are refused."""
    if any(
        part.get("type", "text") not in ("text", "input_text", "output_text") or "text" not in part for part in parts
    ):
        raise Bad("wrong_shape", "has a turn with something other than text, such as a picture")
    return "".join(as_text(part["text"]) for part in parts)


def _calls(calls) -> str:
    """Tool calls as JSON, one a line: {"name", "arguments"}, the arguments as an object where they are one."""
    lines = []
    for call in calls if isinstance(calls, list) else [calls]:
        call = call.get("function", call) if isinstance(call, dict) else call
        if not isinstance(call, dict) or "name" not in call:
            raise Bad("wrong_shape", "has a tool call without a name")
        arguments = call.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = orjson.loads(arguments)
            except orjson.JSONDecodeError:
                arguments = str(arguments)
        lines.append(as_text({"name": call["name"], "arguments": arguments}))
    return "\n".join(lines)


def close(turns: list[dict]) -> dict:
    """{"messages"} of turns in a right order that end with an answer; raises Bad.

    Turns after the last answer are left off: nothing can be learned from them; "cut_turns" then counts them.
    """
    last = max((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), default=None)
    if last is None:
        raise Bad("empty_response", "has no answer")
    kept = turns[: last + 1]
    before = "start"
    for turn in kept:
        role = turn["role"]
        if role not in _AFTER[before]:
            place = "begins with" if before == "start" else f"has after {before}"
            raise Bad("wrong_roles", f"{place} {role} where {' or '.join(_AFTER[before])} must stand")
        before = role
    for turn in kept:
        if turn["role"] == "assistant" and not turn["content"].strip():
            raise Bad("empty_response", "has an empty answer")
    if not any(turn["content"].strip() for turn in kept if turn["role"] == "user"):
        raise Bad("empty_instruction", "has an empty instruction")
    record = {"messages": kept}
    if last + 1 < len(turns):
        record["cut_turns"] = len(turns) - last - 1
    return record


_AFTER = {
    "start": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}


def strip_prompt(answer, prompt: list[dict] | None) -> tuple[list[dict], str]:
    """(turns before the answer, the answer) of one side of a preference: a text, a turn, or a whole conversation."""
    if isinstance(answer, dict):
        answer = [answer]
    if not isinstance(answer, list):
        if prompt is None:
            raise Bad("empty_instruction", "has no prompt")
        return prompt, as_text(answer)
    turns = as_turns(answer)
    if not turns or turns[-1]["role"] != "assistant":
        raise Bad("wrong_roles", "has an answer that does not end with the assistant's turn")
    before = turns[:-1]
    if not before and prompt is not None:
        before = prompt
    if not before:
        raise Bad("empty_instruction", "has no prompt")
    return before, turns[-1]["content"]


def parse_transcript(text: str) -> list[dict] | str:
    """A transcript "\\n\\nHuman: … \\n\\nAssistant: …" (Anthropic's HH-RLHF) as turns; any other text as it is."""
    if not text.startswith("\n\nHuman:"):
        return text
    turns, at, role = [], len("\n\nHuman:"), "user"
    while True:
        found = [(text.find(mark, at), mark, name) for mark, name in _MARKS]
        found = min((item for item in found if item[0] >= 0), default=None)
        turns.append({"role": role, "content": text[at : found[0] if found else None].strip()})
        if not found:
            return turns
        at, role = found[0] + len(found[1]), found[2]
