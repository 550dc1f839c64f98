"""A local causal model as the judge: its scores are read from the probabilities of the digits 1 to 5.

Small models seldom keep to a form, so nothing is parsed: the answer's beginning is given ("[RESULT] A: "), and a score
is the mean of 1 … 5 under the model's own probabilities (as G-Eval weights them, arXiv 2303.16634).
"""

import torch

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.data.encode import encode_prompt
from llmdemo.decoding.prompts import PaddedRows
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
        try:
            return encode_prompt(conversation, self._tokenizer)
        except UserError:
            if conversation[0]["role"] != "system":
                raise
        # Some templates (Gemma's) refuse a system turn: the user says it then.
        system, user, *rest = conversation
        said = {**user, "content": f"{system['content']}\n\n{user['content']}"}
        return encode_prompt([said, *rest], self._tokenizer)

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


def _strange() -> UserError:
    return JudgeFailed(say("judge_no_digits"), say("judge_no_digits_hint"))
