"""A local causal model as the judge: scores from the probabilities of the digits 1 to 5, or feedback that it writes.

Small models seldom keep to a form, so LocalJudge parses nothing: the answer's beginning is given ("[RESULT] A: "), and a
score is the mean of 1 … 5 under the model's own probabilities (as G-Eval weights them, arXiv 2303.16634). LocalWriter
lets a model that was trained to judge write its feedback.
"""

from collections.abc import Sequence

import torch

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.data.encode import encode_prompt
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.prompts import PaddedRows, greedy
from llmdemo.evaluation.grading import MARKERS, Question
from llmdemo.evaluation.judge import JudgeFailed

_DIGITS = "12345"
_FIRST, _SECOND = "[RESULT] A: ", ", B: "


class LocalJudge:
    """`scores(conversations)` for a loaded model."""

    def __init__(self, model, tokenizer, context: int):
        self._model, self._tokenizer, self._context = model, tokenizer, context
        self._head, self._digits = self._branch(_FIRST)

    @torch.inference_mode()
    def scores(self, conversations: list[list[dict]]) -> list[tuple[float, float] | None]:
        """(A, B) for each conversation, 1.0 to 5.0; None where it is longer than the model's context."""
        prompts = [self._encode(each) + self._head for each in conversations]
        fits = [place for place, prompt in enumerate(prompts) if len(prompt) + 16 <= self._context]
        found: list[tuple[float, float] | None] = [None] * len(prompts)
        if not fits:
            return found
        rows = PaddedRows(self._model)
        pad = self._tokenizer.pad_token_id or 0
        first, digits = self._read(rows.start([prompts[place] for place in fits], pad), self._digits)
        middles = [self._branch(f"{_FIRST}{_DIGITS[digit]}{_SECOND}") for digit in range(5)]
        tails = [middles[digit][0][len(self._head) :] for digit in digits]
        if len(set(map(len, tails))) > 1:
            raise _strange()
        logits = rows.extend(torch.tensor(tails))
        second, _ = self._read(logits, middles[0][1])
        for place, pair in zip(fits, zip(first, second, strict=True), strict=True):
            found[place] = pair
        return found

    def _encode(self, conversation: list[dict]) -> list[int]:
        return _encoded(conversation, self._tokenizer)

    def _read(self, logits: torch.Tensor, digits: list[int]) -> tuple[list[float], list[int]]:
        """(mean score, likeliest digit as 0 … 4) of each row of `logits` [b, V]."""
        shares = logits[:, digits].softmax(-1).cpu()  # [b, 5]
        return (shares @ torch.arange(1.0, 6.0, dtype=torch.float32)).tolist(), shares.argmax(-1).tolist()

    def _branch(self, text: str) -> tuple[list[int], list[int]]:
        """(ids that `text` and any digit begin with, the five ids that follow): digits may join a blank before them."""
        ids = [self._tokenizer(text + digit, add_special_tokens=False)["input_ids"] for digit in _DIGITS]
        length = next((at for at, column in enumerate(zip(*ids, strict=False)) if len(set(column)) > 1), 0)
        digits = [each[length] for each in ids]
        if not length or len(set(digits)) < 5:
            raise _strange()
        return ids[0][:length], digits


class LocalWriter:
    """`write(questions)` for a loaded model: its feedback, greedily."""

    def __init__(self, model, tokenizer, context: int, most: int):
        """`most`: tokens of a feedback."""
        self._model, self._tokenizer, self._context, self._most = model, tokenizer, context, most
        self._weights = fused_weights(model)

    def write(self, questions: Sequence[Question]) -> list[str | None]:
        """The text for each question; None where question and feedback are longer than the model's context."""
        prompts = [self._prompt(each) for each in questions]
        fits = [place for place, prompt in enumerate(prompts) if 0 < len(prompt) <= self._context - self._most]
        found: list[str | None] = [None] * len(prompts)
        asked = [prompts[place] for place in fits]
        if not asked:
            return found
        pad = self._tokenizer.pad_token_id or 0
        for place, answer in zip(fits, greedy(self._model, asked, self._most, pad, weights=self._weights), strict=True):
            # A text that was cut off may end in "[RESULT] 1" by chance: a grade counts where the judge came to an end.
            text = self._tokenizer.decode(answer.token_ids, skip_special_tokens=True)
            found[place] = text if answer.ended else f"{text} […]"
        return found

    def _prompt(self, question: Question) -> list[int]:
        markers = [self._tokenizer.convert_tokens_to_ids(each) for each in MARKERS]
        known = all(each is not None and each != self._tokenizer.unk_token_id for each in markers)
        if question.raw and known:
            return self._tokenizer(question.raw)["input_ids"]
        return _encoded(list(question.messages), self._tokenizer)


def _encoded(conversation: list[dict], tokenizer) -> list[int]:
    try:
        return encode_prompt(conversation, tokenizer)
    except UserError:
        if conversation[0]["role"] != "system":
            raise
    # Some templates (Gemma's, Mistral's) refuse a system turn: the user says it then.
    system, user, *rest = conversation
    said = {**user, "content": f"{system['content']}\n\n{user['content']}"}
    return encode_prompt([said, *rest], tokenizer)


def _strange() -> UserError:
    return JudgeFailed(say("judge_no_digits"), say("judge_no_digits_hint"))
