"""Conversations as text: the tokenizer's chat template, and where in its text each answer stands. Knows no token ids."""

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


def render_answers(conversations: list[list[dict]], tokenizer, last_only: bool) -> list[Rendered]:
    """Each conversation's text with the places of its answers.

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
    ends = iter(render(after, tokenizer, generation=False))
    results = []
    for messages, text, at in zip(conversations, texts, places, strict=True):
        answers, unreachable, needs_eos = [], 0, False
        for place in at:
            last = place + 1 == len(messages)
            prompt, whole = next(prompts), text if last else next(ends)
            if not (whole.startswith(prompt) and text.startswith(whole)):
                if last:
                    raise _rewrites(messages)
                unreachable += 1
                continue
            end = len(whole.rstrip())
            answers.append((len(prompt), max(end, len(prompt))))
            needs_eos = last and not whole[:end].endswith(tokenizer.eos_token or "\0")
        results.append(Rendered(text, answers, needs_eos, unreachable))
    return results


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
    except (TemplateError, TypeError, ValueError, KeyError) as error:
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
