"""Lens and attribution as people ask for them: a model's id, a prompt and a place; the answer as JSON.

A model is shared with the arena, whose memory and turns count. Knows no page.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from llmdemo.arena.cache import Loaded
from llmdemo.arena.prompt import Prompt, check_length
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data.encode import Encoded
from llmdemo.data.tokens import token_view
from llmdemo.interpret.attribution import attribute
from llmdemo.interpret.lens import Lens, lens
from llmdemo.interpret.readout import only_last
from llmdemo.models import catalog
from llmdemo.models.files import read_object

MOST_TOKENS = 512
"""Longest sequence that is looked into: a backward pass keeps what all layers computed."""
_MOST_WINDOW, _MOST_TOP = 16, 20
BASE = "base"
"""`beside` that stands for the model that a run started from."""


class Interpret:
    """One for the app. `use(model id)` gives a loaded model that nobody else computes with meanwhile (Arena.use_alone)."""

    def __init__(self, home: Home, use: Callable[[str], AbstractContextManager[Loaded]]):
        self._home, self._use = home, use

    def lens(
        self,
        model_id: str,
        prompt,
        position: int = -1,
        beside: str = "",
        prefix_ids=(),
        token: int | None = None,
        window: int = 1,
        top: int = 5,
    ) -> dict:
        """What each layer would say after `position` of the prompt and the answer's first tokens `prefix_ids`.

        position: from 0, or from the end where negative. beside: another model of the same tokens, or "base". token: an
        id whose probability is followed. window: positions up to this one. Returns {"positions": [{position, id, text}],
        "models": [{id, title, dtype, layers, decided, answer, rows, followed}], "names": {id: text}}; rows: [layer][position]
        = [[id, p], …]; followed: [layer] = [p, rank] or None. Raises UserError.
        """
        window, top = _whole("window", window, 1, _MOST_WINDOW), _whole("top", top, 1, _MOST_TOP)
        ids_of_models = [model_id, *([self._beside(model_id, beside)] if beside else [])]
        found, shown, spelt = [], [], None
        names: dict[str, str] = {}
        for each in ids_of_models:
            with self._use(each) as loaded:
                ids = self._ids(loaded, prompt, prefix_ids)
                place = _whole("position", position, -len(ids), len(ids) - 1) % len(ids)
                pieces = loaded.tokenizer.convert_ids_to_tokens(ids)
                if spelt is not None and spelt != pieces:
                    raise UserError("err_different_tokens")
                spelt, ids = pieces, ids[: place + 1]
                followed = _known_token(loaded, token) if token is not None else None
                seen = lens(loaded.model, ids, window, top, followed)
                found.append(_told(loaded, seen))
                names |= _names(loaded.tokenizer, _mentioned(seen, followed))
                first = max(0, len(ids) - window)
                shown = [{**each, "position": first + at} for at, each in enumerate(_texts(loaded, ids[first:]))]
        return {"positions": shown, "models": found, "names": names}

    def attribute(
        self, model_id: str, prompt, token: int | str | None = None, method: str = "gradient_x_input", prefix_ids=()
    ) -> dict:
        """How much each token of the prompt, and of the answer's first tokens `prefix_ids`, adds to `token` after them.

        token: an id, a text of one token, or None for the likeliest. Returns {"method", "token": {id, text, probability},
        "tokens": [{id, text, special, score}], "total", "gap", "parts"}: see attribution.py. Raises UserError.
        """
        with self._use(model_id) as loaded:
            ids = self._ids(loaded, prompt, prefix_ids)
            wanted = _wanted(loaded, token, ids)
            found = attribute(loaded.model, ids, wanted, method, _baseline(loaded))
            p = lens_probability(loaded.model, ids, wanted)
            tokens = [{**each, "score": score} for each, score in zip(_texts(loaded, ids), found.scores, strict=True)]
            about = {**_texts(loaded, [wanted])[0], "probability": p}
            return {
                "method": method,
                "token": about,
                "tokens": tokens,
                "total": found.total,
                "gap": found.gap,
                "parts": found.parts,
            }

    def _ids(self, loaded: Loaded, prompt, prefix_ids) -> list[int]:
        """Token ids of the prompt and what was said after it; raises UserError unless they can be looked into."""
        said = [_known_token(loaded, token) for token in _listed(prefix_ids)]
        ids = [*Prompt.from_value(prompt).encode(loaded.tokenizer), *said]
        check_length(len(ids), loaded.context, MOST_TOKENS)
        return ids

    def _beside(self, model_id: str, beside: str) -> str:
        """The id of the other model: `beside`, or the one that the run `model_id` started from."""
        return base_of(self._home, model_id) if beside == BASE else beside


def base_of(home: Home, model_id: str) -> str:
    """The id of the model that a run's model started from. Raises UserError for a model that did not come from a run."""
    entry = catalog.resolve(home, model_id)
    try:
        base = read_object(entry.path / "origin.json", 2**20).get("base") if entry.path else None
    except (OSError, UserError):
        base = None
    if not base:
        raise UserError("err_no_base", title=entry.title)
    return str(base)


@torch.inference_mode()
def lens_probability(model, ids: list[int], token: int) -> float:
    """p(token) after `ids`, by the model's own logits."""
    row = torch.tensor([ids], device=next(model.parameters()).device)
    return float(model(input_ids=row, use_cache=False, **only_last(model, 1)).logits[0, -1].float().softmax(-1)[token])


def _told(loaded: Loaded, seen: Lens) -> dict:
    facts = loaded.facts()
    return {
        **{key: facts[key] for key in ("id", "title", "dtype")},
        "layers": len(seen.layers),
        "decided": seen.decided,
        "answer": seen.answer,
        "rows": seen.layers,
        "followed": seen.followed,
    }


def _mentioned(seen: Lens, followed: int | None) -> set[int]:
    ids = {token for row in seen.layers for place in row for token, _ in place}
    return ids | ({followed} if followed is not None else set())


def _texts(loaded: Loaded, ids: list[int]) -> list[dict]:
    keep = ("id", "text", "special")
    return [{key: each[key] for key in keep} for each in token_view(Encoded(ids, ids), loaded.tokenizer, MOST_TOKENS)]


def _names(tokenizer, ids: set[int]) -> dict[str, str]:
    known = sorted(ids)
    return {str(each["id"]): each["text"] for each in token_view(Encoded(known, known), tokenizer, len(known))}


def _baseline(loaded: Loaded) -> int:
    """The token that says nothing: the unknown, padding or end token, whichever the model has a direction for.

    At an embedding of zeros, as padding often has, a norm has no derivative, and the way from there cannot be summed up.
    """
    weight = loaded.model.get_input_embeddings().weight
    tokenizer = loaded.tokenizer
    known = (tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id)
    usual = weight[:1000].float().norm(dim=-1).mean()
    for token in known:
        if token is not None and token < len(weight) and weight[token].float().norm() > 0.1 * usual:
            return token
    return 0


def _wanted(loaded: Loaded, token: Any, ids: list[int]) -> int:
    """The id of the token that is attributed."""
    if token is None or token == "":
        return lens(loaded.model, ids, top=1).answer
    if isinstance(token, str):
        spelt = loaded.tokenizer(token, add_special_tokens=False)["input_ids"]
        if len(spelt) != 1:
            raise UserError("err_not_one_token", text=repr(token[:40]), n=len(spelt))
        return int(spelt[0])
    return _known_token(loaded, token)


def _known_token(loaded: Loaded, token: Any) -> int:
    rows = int(loaded.model.config.get_text_config().vocab_size)
    if type(token) is not int or not 0 <= token < rows:
        raise UserError("err_no_such_token", token=repr(str(token)[:40]), most=rows - 1)
    return token


def _listed(prefix_ids: Any) -> list:
    if prefix_ids is None:
        return []
    if not isinstance(prefix_ids, (list, tuple)):
        raise UserError("err_no_token_ids")
    return list(prefix_ids)


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise UserError("err_interpret_number", name=name, value=repr(str(value)[:40]), least=least, most=most)
    return value
