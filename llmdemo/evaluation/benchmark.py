"""What models score on a standard benchmark's questions, as lm-eval 0.4 counts: by likelihood, or by what they write.

Likelihood: each choice's summed log-probability after the context and a space; acc takes the highest, acc_norm the highest by
character of the choice. Written: greedy, up to 256 tokens, cut at the next question; exact match by both of gsm8k's filters.
"""

import re
from typing import Any

import numpy as np

from llmdemo.data import Encoded
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.engine import context_length
from llmdemo.decoding.prompts import greedy
from llmdemo.evaluation.benchmark_files import Question
from llmdemo.evaluation.likelihood import row_losses
from llmdemo.settings.evaluation import NEW_TOKENS

_UNTIL = ("Question:", "</s>", "<|im_end|>")
_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_IGNORED = (",", r"\$", r"(?s).*#### ", r"\.$")
_INVALID = "[invalid]"


def choice_logprobs(model, tokenizer, questions: list[Question]) -> list[list[float]]:
    """Σ log p of each choice's tokens, in nats, for each question with choices."""
    rows, owner = [], []
    context = context_length(model) or 1_000_000
    for place, question in enumerate(questions):
        for choice in question.choices:
            before, after = encoded_pair(tokenizer, question.context, " " + choice)
            ids = (before + after)[-(context + 1) :]  # what is too long loses its beginning, as in lm-eval
            after = after[-len(ids) + 1 :] if len(after) >= len(ids) else after
            rows.append(Encoded(ids[-context:], ([-100] * (len(ids) - len(after)) + after)[-context:]))
            owner.append(place)
    pad = tokenizer.pad_token_id or 0
    found: list[list[float]] = [[] for _ in questions]
    for place, (loss, _) in zip(owner, row_losses(model, rows, pad), strict=True):
        found[place].append(-loss)
    return found


def cut_to(model, tokenizer, questions: list[Question]) -> list[int]:
    """Of each question that the model's context does not hold, with a choice or with room for an answer: how many of its last
    tokens are read; 0 of the others."""
    context, found = context_length(model) or 1_000_000, []
    for question in questions:
        texts = [f"{question.context} {choice}" for choice in question.choices] or [question.context]
        most = context if question.choices else max(1, context - NEW_TOKENS)
        longest = max(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
        found.append(most if longest > most else 0)
    return found


def encoded_pair(tokenizer, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """(ids of the context, ids that the continuation adds to them): spaces at the context's end belong to what follows."""
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    whole = tokenizer.encode(context + continuation, add_special_tokens=False)
    before = tokenizer.encode(context, add_special_tokens=False)
    return whole[: len(before)], whole[len(before) :]


def written(model, tokenizer, questions: list[Question], tell) -> list[str]:
    """What the model writes after each context, cut where lm-eval's task cuts it."""
    pad = tokenizer.pad_token_id or 0
    room = (context_length(model) or 1_000_000) - NEW_TOKENS
    prompts = [tokenizer.encode(each.context, add_special_tokens=False)[-max(1, room) :] for each in questions]
    answers = greedy(model, prompts, NEW_TOKENS, pad, tell, weights=fused_weights(model))
    texts = [tokenizer.decode(each.token_ids, skip_special_tokens=True) for each in answers]
    return [cut(text) for text in texts]


def cut(text: str) -> str:
    """Up to the first of the strings that end an answer."""
    for end in _UNTIL:
        text = text.split(end)[0]
    return text


def picked(question: Question, logprobs: list[float]) -> tuple[int, int]:
    """(the likeliest choice, the likeliest by character); the first of equals."""
    lengths = np.array([float(len(choice)) for choice in question.choices])
    values = np.array(logprobs)
    return int(values.argmax()), int((values / lengths).argmax())


def extracted(text: str) -> tuple[str, str]:
    """(what stands behind ####, the last number) of an answer; "[invalid]" where there is none."""
    strict, flexible = _STRICT.findall(text), _FLEXIBLE.findall(text)
    last = next((each for each in flexible[-1] if each), _INVALID) if flexible else _INVALID
    return (strict[0] if strict else _INVALID).strip(), last.strip()


def matches(prediction: str, answer: str) -> bool:
    """gsm8k's exact match of an extracted number with the whole right answer."""
    for pattern in _IGNORED:
        prediction, answer = re.sub(pattern, "", prediction), re.sub(pattern, "", answer)
    return prediction.lower() == answer.lower()


def marks(question: Question, line: dict[str, Any]) -> dict[str, Any]:
    """{said, and a bool for each figure} of a kept line {lls} or {text}."""
    if question.choices:
        plain, normed = picked(question, line["lls"])
        return {"said": question.choices[plain], "acc": plain == question.right, "acc_norm": normed == question.right}
    strict, flexible = extracted(line["text"])
    right = question.answer
    return {"said": line["text"], "strict": matches(strict, right), "flexible": matches(flexible, right)}


FIGURES = {False: ("acc", "acc_norm"), True: ("strict", "flexible")}
"""By whether the answer is written."""
