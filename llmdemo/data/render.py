"""Conversations as text: the tokenizer's chat template, and where in its text each answer stands. Knows no token ids."""

import os
from dataclasses import dataclass

from jinja2 import TemplateError

from llmdemo.errors import UserError

_PLAIN_NAMES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


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
        found = Rendered(text, [], needs_eos=False)
        for place in at:
            last = place + 1 == len(messages)
            prompt, whole = next(prompts), text if last else next(ends)
            end = _end_of_turn(text, prompt, whole, marks)
            if end is None:
                if last:
                    raise _rewrites(messages)
                found.unreachable += 1
                continue
            found.answers.append((len(prompt), end))
            found.altered += not _shows(text[len(prompt) : end], messages[place]["content"])
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
    return UserError(
        f"The model's chat template does not keep its own prompt before the answer {messages[-1]['content'][:60]!r}.",
        "Such a template cannot be trained on answers: choose another model, or data of raw text.",
    )


def render(conversations: list[list[dict]], tokenizer, generation: bool) -> list[str]:
    if not conversations:
        return []
    if not getattr(tokenizer, "chat_template", None):
        return [_plain(messages, tokenizer, generation) for messages in conversations]
    try:
        return tokenizer.apply_chat_template(conversations, tokenize=False, add_generation_prompt=generation)
    except (
        TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        reason = str(error)[:200]
    raise UserError(
        f"The model's chat template refuses a conversation: {reason}",
        "Its turns must go user, assistant, user, … as the template wants them; a system turn may not be allowed.",
    )


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
