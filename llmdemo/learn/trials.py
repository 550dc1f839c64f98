"""What lessons compute on the spot with a loaded model: its surprise at texts, questions out of nothing, several answers to
one prompt, and a judge's scores in both orders. Bounded, so that a class can ask. Knows no page, no run and no file.
"""

from typing import Any

import torch
from torch.nn import functional

from llmdemo.arena.cache import Loaded
from llmdemo.arena.prompt import Prompt, check_length
from llmdemo.core.errors import UserError
from llmdemo.data.encode import NOT_TRAINED, Encoded, encode_chat, encode_prompt
from llmdemo.data.tokens import token_view
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.draws import Draws
from llmdemo.decoding.engine import end_tokens
from llmdemo.decoding.prompts import written
from llmdemo.evaluation.judge import Pair, messages, verdict
from llmdemo.evaluation.judge_local import LocalJudge
from llmdemo.evaluation.text_metrics import chrf
from llmdemo.generation.template import user_turn

MOST_TEXTS, MOST_TEXT_TOKENS = 24, 256
MOST_PAIRS, MOST_ANSWERS = 8, 16
_MOST_PROMPT, _QUESTION_TOKENS, _ANSWER_TOKENS = 512, 48, 48
_MOST_JUDGED = 1024
"""Tokens of a pair as a judge reads it: 16 of them at once are the dearest of all trials, 20 s on two cores."""
_MOST_CHARACTERS = 4000


def surprises(loaded: Loaded, texts: Any) -> list[dict]:
    """[{"mean", "tokens": [{text, surprise}]}] of each text: −log p in nats of each token after those before it.

    A text is a str, of which all tokens but the first count, or {"prompt", "answer"}, of which the answer's do, with the
    end token. Cut at 256 tokens. Raises UserError for anything else, or none.
    """
    rows = [_row(loaded, text) for text in _some("texts", texts, MOST_TEXTS)]
    return [_surprise(loaded, row) for row in rows]


def _row(loaded: Loaded, text: Any) -> Encoded:
    if isinstance(text, dict):
        asked = _asked(text.get("prompt"))
        said = [*asked.messages, {"role": "assistant", "content": _text("answer", text.get("answer"))}]
        row = encode_chat(said, loaded.tokenizer, MOST_TEXT_TOKENS)
    else:
        ids = Prompt(raw=_text("text", text)).encode(loaded.tokenizer)[:MOST_TEXT_TOKENS]
        row = Encoded(ids, [NOT_TRAINED, *ids[1:]])
    if not row.trained:
        raise UserError("err_lesson_short")
    return row


@torch.inference_mode()
def _surprise(loaded: Loaded, row: Encoded) -> dict:
    ids = torch.tensor([row.input_ids], device=next(loaded.model.parameters()).device)  # (1, T)
    labels = torch.tensor(row.labels, device=ids.device)[1:]
    logits = loaded.model(input_ids=ids, use_cache=False).logits[0, :-1]  # (T - 1, V)
    places = (labels != NOT_TRAINED).nonzero()[:, 0]
    found = functional.cross_entropy(logits[places].float(), labels[places], reduction="none")
    shown = token_view(Encoded(labels[places].tolist(), labels[places].tolist()), loaded.tokenizer, MOST_TEXT_TOKENS)
    tokens = [{"text": each["text"], "surprise": value} for each, value in zip(shown, found.tolist(), strict=True)]
    return {"mean": float(found.mean()), "tokens": tokens}


def questions(loaded: Loaded, count: int = 3, seed: int = 0) -> list[dict]:
    """[{"question", "answer"}]: what a tuned model writes after nothing but the mark of a user's turn, drawn at temperature 1
    from the likeliest 95 %, and its likeliest answer to that (Magpie, arXiv 2406.08464).

    Raises UserError for a model without a chat template.
    """
    count, seed = _whole("count", count, 1, MOST_PAIRS), _whole("seed", seed, 0, 2**31 - 1)
    turn = user_turn([], loaded.tokenizer)
    ends = [*end_tokens(loaded.model), *turn.end_ids]
    drawn = _written(loaded, turn.ids, count, seed, _QUESTION_TOKENS, top_p=0.95, end_ids=ends)
    asked = [text.split(turn.end_text)[0].strip() if turn.end_text else text.strip() for text, _ in drawn]
    return [{"question": text, "answer": _answer(loaded, text) if text else ""} for text in asked]


def _answer(loaded: Loaded, question: str) -> str:
    ids = encode_prompt([{"role": "user", "content": question}], loaded.tokenizer)
    return _written(loaded, ids, 1, 0, _ANSWER_TOKENS, temperature=0)[0][0].strip()


def several(loaded: Loaded, prompt: Any, wanted: Any, count: int = 8, seed: int = 0) -> list[dict]:
    """[{"text", "tokens", "quality"}]: `count` answers drawn at temperature 1, with their length and how close each is to the
    right one (chrF, from 0 to 1)."""
    count, seed = _whole("count", count, 1, MOST_ANSWERS), _whole("seed", seed, 0, 2**31 - 1)
    ids, wanted = _prompt(loaded, prompt), _text("wanted", wanted)
    found = _written(loaded, ids, count, seed, _ANSWER_TOKENS)
    return [{"text": text, "tokens": tokens, "quality": chrf(text, wanted) / 100} for text, tokens in found]


def judged(loaded: Loaded, pairs: Any, criteria: Any) -> list[dict]:
    """[{"orders": [[first, second] | None, …], "winner", "agreed"}] of each pair {instruction, reference, answers: [first,
    second]}: the scores from 1 to 5 that a model gives with the first answer shown first, and with the second shown first;
    what both say together (see evaluation.judge.verdict)."""
    checked = [_pair(n, each) for n, each in enumerate(_some("pairs", pairs, MOST_PAIRS))]
    criteria = _text("criteria", criteria)
    judge = LocalJudge(loaded.model, loaded.tokenizer, min(loaded.context or _MOST_JUDGED, _MOST_JUDGED))
    found = []
    for number, pair in enumerate(checked, 1):
        plain, turned = judge.scores([messages(pair, criteria, swapped) for swapped in (False, True)])
        if plain is None or turned is None:
            raise UserError("err_lesson_pair_long", n=number, most=_MOST_JUDGED)
        orders: list[tuple[float, float] | None] = [plain, (turned[1], turned[0])]
        said = verdict(orders)
        found.append({"orders": orders, "winner": said["winner"], "agreed": said["agreed"]})
    return found


def _pair(index: int, value: Any) -> Pair:
    answers = value.get("answers") if isinstance(value, dict) else None
    if not isinstance(answers, list) or len(answers) != 2:
        raise UserError("err_lesson_pair", n=index + 1)
    instruction, reference = (_text(key, value.get(key)) for key in ("instruction", "reference"))
    return Pair(index, instruction, reference, (_text("answer", answers[0]), _text("answer", answers[1])))


def _asked(prompt: Any) -> Prompt:
    """The prompt, which is short enough that tokenising it takes no time."""
    asked = Prompt.from_value(prompt)
    if len(asked.raw or "") + sum(len(turn["content"]) for turn in asked.messages) > _MOST_CHARACTERS:
        raise UserError("err_lesson_text", name="prompt", most=_MOST_CHARACTERS)
    return asked


def _prompt(loaded: Loaded, prompt: Any) -> list[int]:
    ids = _asked(prompt).encode(loaded.tokenizer)
    check_length(len(ids), loaded.context, _MOST_PROMPT)
    return ids


def _written(
    loaded: Loaded, ids: list[int], count: int, seed: int, most: int, temperature=1.0, top_p=1.0, end_ids=None
) -> list[tuple[str, int]]:
    """(text, tokens) of `count` answers to one prompt."""
    choose = Draws([seed + place for place in range(count)], temperature, top_p)
    pad = loaded.tokenizer.pad_token_id or 0
    more = {"end_ids": end_ids, "weights": fused_weights(loaded.model), "copies": count}
    answers = written(loaded.model, [ids], most, pad, choose, **more)
    decode = loaded.tokenizer.decode
    return [(decode(each.token_ids, skip_special_tokens=True), len(each.token_ids)) for each in answers]


def _some(name: str, values: Any, most: int) -> list:
    if not isinstance(values, list) or not 1 <= len(values) <= most:
        raise UserError("err_lesson_some", name=name, most=most)
    return values


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _MOST_CHARACTERS:
        raise UserError("err_lesson_text", name=name, most=_MOST_CHARACTERS)
    return value


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise UserError("err_interpret_number", name=name, value=repr(str(value)[:40]), least=least, most=most)
    return value
