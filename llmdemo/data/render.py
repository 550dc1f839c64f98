"""Conversations as text: the tokenizer's chat template, and where in its text each answer stands. Knows no token ids."""

import json
import os
from dataclasses import dataclass, field

from jinja2 import TemplateError

from llmdemo.core.errors import UserError

_PLAIN_NAMES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


TEMPLATE_KEYS = {"tools": "tools", "reasoning": "reasoning_content"}
"""What a record may have besides its turns, and what chat templates call it."""


class Conversation(list):
    """The turns of a record, with the JSON of the tools that a template is told and the answers that are not learned."""

    __slots__ = ("tools", "untrained")

    def __init__(self, turns, tools: str | None = None, untrained=()):
        super().__init__(turns)
        self.tools, self.untrained = tools, untrained

    def __getitem__(self, index):
        found = super().__getitem__(index)
        return Conversation(found, self.tools, self.untrained) if isinstance(index, slice) else found


def conversation(record: dict) -> Conversation:
    """The turns of a normalised record, as a chat template takes them: with their reasoning, and the record's tools."""
    reasoning, turns = record.get("reasoning"), record["messages"]
    if reasoning and len(reasoning) == len(turns):
        turns = [
            {**turn, "reasoning_content": thought} if thought else turn
            for turn, thought in zip(turns, reasoning, strict=True)
        ]
    tools = record.get("tools") or getattr(turns, "tools", None)
    return Conversation(turns, tools, record.get("untrained") or getattr(turns, "untrained", ()))


def takes(tokenizer, name: str) -> bool:
    """Whether the tokenizer's chat template does something with a record's "tools" or "reasoning"."""
    template = getattr(tokenizer, "chat_template", None) or ""
    texts = template.values() if isinstance(template, dict) else [template]
    return any(TEMPLATE_KEYS[name] in text for text in texts)


@dataclass(slots=True)
class Rendered:
    text: str
    answers: list[tuple[int, int]]
    """[start, end) of each answer in characters of `text`."""
    needs_eos: bool
    unreachable: int = 0
    """Answers that stand otherwise in `text` than where they end the conversation, or not at all."""
    altered: int = 0
    """Of `answers`, those of which the template shows only a part, such as the answer without its reasoning."""
    masked: list[int] = field(default_factory=list)
    """Indices in `answers` of those that are not learned."""
    lost: bool = False
    """Whether an answer that is not learned cannot be found, so that only the others can be told apart."""


def render_answers(conversations: list[list[dict]], tokenizer, last_only: bool) -> list[Rendered]:
    """Each conversation's text with the places of its answers, each with the end of its own turn.

    Raises UserError when an answer that ends the conversation cannot be found; earlier ones that cannot are
    counted (templates that leave out earlier reasoning, for example, rewrite them).
    """
    texts = render(conversations, tokenizer, generation=False)
    places = [_answer_places(messages, last_only) for messages in conversations]
    before = [messages[:place] for messages, at in zip(conversations, places, strict=True) for place in at]
    prompts = iter(render(before, tokenizer, generation=True))
    after = [
        messages[: i + 1]
        for messages, at in zip(conversations, places, strict=True)
        for i in at
        if i + 1 < len(messages)
    ]
    ends, marks = iter(render(after, tokenizer, generation=False)), _marks(tokenizer)
    results = []
    for messages, text, at in zip(conversations, texts, places, strict=True):
        found, left = Rendered(text, [], needs_eos=False), getattr(messages, "untrained", ())
        for place in at:
            last = place + 1 == len(messages)
            prompt, whole = next(prompts), text if last else next(ends)
            end = _end_of_turn(text, prompt, whole, marks)
            if end is None:
                if last:
                    raise _rewrites(messages)
                found.unreachable += 1
                found.lost |= place in left
                continue
            if place in left:
                found.masked.append(len(found.answers))
            else:
                found.altered += not _shows(text[len(prompt) : end], messages[place]["content"])
            found.answers.append((len(prompt), end))
            found.needs_eos = last and not text[:end].endswith(tokenizer.eos_token or "\0")
        results.append(found)
    return results


def _marks(tokenizer) -> list[str]:
    """The tokens that are no text, longest first."""
    return sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()} - {""}, key=len, reverse=True)


def _end_of_turn(text: str, prompt: str, whole: str, marks: list[str]) -> int | None:
    """Where the answer after `prompt` ends in `text`, its turn's end token included; None if something else stands there.

    `whole` is the conversation as it is when it ends with this answer. Some templates close a conversation, with an
    end-of-text token, only where it ends: what `whole` has more than `text` may be such tokens and blanks.
    """
    if not (text.startswith(prompt) and whole.startswith(prompt)):
        return None
    shared = len(os.path.commonprefix([text, whole]))
    if shared < len(whole):
        # "<|" may begin both the closing token and the next turn: a token is shared whole or not at all
        starts = [whole.rfind(mark, max(0, shared - len(mark) + 1), shared + len(mark) - 1) for mark in marks]
        shared = min([shared, *(start for start in starts if start >= 0)])
        rest = whole[shared:]
        for mark in marks:
            rest = rest.replace(mark, "")
        if rest.strip() or shared < len(prompt):
            return None
    return max(len(text[:shared].rstrip()), len(prompt))


def _shows(shown: str, content: str) -> bool:
    """Whether the text of a turn holds its whole content, blanks aside, which templates may trim."""
    return "".join(content.split()) in "".join(shown.split())


def _answer_places(messages: list[dict], last_only: bool) -> list[int]:
    places = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    return places[-1:] if last_only else places


def _rewrites(messages) -> UserError:
    return UserError("err_template_moves_prompt", answer=repr(messages[-1]["content"][:60]))


def render(conversations: list[list[dict]], tokenizer, generation: bool) -> list[str]:
    if not conversations:
        return []
    if not getattr(tokenizer, "chat_template", None):
        return [_plain(messages, tokenizer, generation) for messages in conversations]
    try:
        return _templated(conversations, tokenizer, generation)
    except (
        TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        reason = getattr(error, "sentence", "") or str(error)[:200]
    raise UserError("err_template_refuses", reason=reason)


def _templated(conversations: list[list[dict]], tokenizer, generation: bool) -> list[str]:
    """The template's texts. It is told the tools of a whole batch, so those with the same tools go together."""
    by_tools: dict[str | None, list[int]] = {}
    for place, messages in enumerate(conversations):
        by_tools.setdefault(getattr(messages, "tools", None), []).append(place)
    texts = [""] * len(conversations)
    for tools, places in by_tools.items():
        told = {"tools": json.loads(tools)} if tools else {}
        part = [conversations[place] for place in places]
        made = tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=generation, **told)
        for place, text in zip(places, made, strict=True):
            texts[place] = text
    return texts


def _plain(messages: list[dict], tokenizer, generation: bool) -> str:
    """The text of a conversation for tokenizers without a chat template (base models).

    "### User:\\n…\\n\\n### Assistant:\\n…<EOS>\\n\\n", and the tokenizer's BOS first where it adds one by itself.
    """
    parts = [own_bos(tokenizer)]
    for message in messages:
        end = (tokenizer.eos_token or "") if message["role"] == "assistant" else ""
        parts.append(f"### {_PLAIN_NAMES.get(message['role'], message['role'])}:\n{message['content']}{end}\n\n")
    return "".join(parts) + ("### Assistant:\n" if generation else "")


def own_bos(tokenizer) -> str:
    ids = tokenizer("a", verbose=False)["input_ids"]
    return tokenizer.bos_token if ids and ids[0] == tokenizer.bos_token_id else ""
