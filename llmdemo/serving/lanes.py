"""How a request is decoded: the served model's lane, a suffix of the model's name, or the body's own settings.

The result is a settings object of the arena (settings/decoding.py), so that an answer is what the arena says to the
same prompt, settings and seed. Knows no model and no HTTP.
"""

import re
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.serving.bodies import ChatBody, CompletionBody, Sampling
from llmdemo.serving.errors import ApiError
from llmdemo.settings.decoding import DecodeSettings
from llmdemo.settings.lane import BEAMS, SEARCHES, SEVERAL, STRATEGIES, keys_of

_OWN_VALUE = {
    **{"top_k": "top_k", "top_p": "top_p", "min_p": "min_p", "typical_p": "typical_p", "beam": "num_beams"},
    **{"epsilon": "epsilon_cutoff", "eta": "eta_cutoff", "top_n_sigma": "top_n_sigma", "sample": "temperature"},
    **{"xtc": "xtc_threshold", "mirostat": "mirostat_tau"},
    **dict.fromkeys(SEVERAL, "num_return_sequences"),
}
"""The setting that a number after a strategy's name gives: "beam4", "top_p0.8", "sample0.7"."""
_SUFFIX = re.compile(f"({'|'.join(sorted(STRATEGIES, key=len, reverse=True))})([0-9]+(?:\\.[0-9]+)?)?")
_LEAST_MASS = 1e-6
"""OpenAI allows top_p = 0; this much keeps one token, as 0 would."""
_COMPLETION_DEFAULT = 16
"""max_tokens of a completion that does not say, as OpenAI has it; a chat's is the app's own limit."""
_DRAWING = ("temperature", "top_p", "top_k", "min_p")
_PENALTIES = {
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repetition_penalty": "repetition_penalty",
    "min_tokens": "min_new_tokens",
}


def split_name(asked: str) -> tuple[str, dict[str, Any] | None]:
    """("mine", {"strategy": "beam", "num_beams": 4}) of "mine:beam4"; (name, None) without a suffix. Raises ApiError."""
    name, colon, suffix = asked.partition(":")
    if not colon:
        return name, None
    match = _SUFFIX.fullmatch(suffix)
    if match is None or match[2] and match[1] not in _OWN_VALUE:
        raise ApiError(
            404,
            f"{suffix[:40]!r} after the model's name names no strategy. Valid ones are {', '.join(STRATEGIES)}, "
            'most with a number: "name:beam4", "name:top_p0.8".',
            "model_not_found",
            "model",
        )
    lane: dict[str, Any] = {"strategy": match[1]}
    if match[2]:
        whole = _OWN_VALUE[match[1]] in ("top_k", "num_beams", "num_return_sequences")
        lane[_OWN_VALUE[match[1]]] = int(float(match[2])) if whole else float(match[2])
    return name, lane


def checked_lane(lane: Any, limits=None) -> dict[str, Any]:
    """A lane as an owner gives it, whole, or UserError: a strategy's name with a number or without, or an object."""
    if isinstance(lane, str) and lane not in STRATEGIES:
        try:
            lane = split_name(f"x:{lane}")[1]
        except ApiError:
            raise UserError("err_lane", given=repr(lane[:40]), strategies=STRATEGIES) from None
    return DecodeSettings.from_dict({"lanes": [lane]}, limits).lanes[0].to_dict()


def settings_of(
    body: Sampling, served: dict[str, Any], suffix: dict[str, Any] | None, seed: int, most: int
) -> dict[str, Any]:
    """The arena's settings for `body`, with a lane for each of its n answers that can differ.

    `served` is the model's own lane, `suffix` that of the name, `seed` what draws; `most` is how many tokens an answer
    has where the body does not say. Raises ApiError; the values themselves are checked by the arena.
    """
    lane = _lane(body, served, suffix)
    number = body.n or 1
    strategy = lane["strategy"]
    copies = 1 if strategy in (*SEARCHES, *SEVERAL) or lane.get("temperature", 1) == 0 else number
    if strategy in (*BEAMS, *SEVERAL):
        key = "num_beams" if strategy in BEAMS else "num_return_sequences"
        rows = lane.setdefault(key, getattr(DecodeSettings(), key))
        if isinstance(rows, int) and number > rows:
            message = f"n is {number}, and {strategy} of {rows} gives at most {rows} answers. Ask for fewer."
            raise ApiError(400, message, "invalid_value", "n")
        _refuse_alternatives(body, strategy)
    name = lane.get("name", lane["strategy"])
    lanes = [{**lane, "name": name if copy == 0 else f"{name} {copy + 1}"} for copy in range(copies)]
    settings: dict[str, Any] = {"lanes": lanes, "max_new_tokens": asked_tokens(body) or most, "seed": seed}
    settings["stop"] = list(body.stops())
    if (schema := _schema(body)) is not None:
        settings["json_schema"] = schema
    settings |= {
        key: value for key in ("logit_bias", "bad_words", "precision") if (value := getattr(body, key)) is not None
    }
    return settings


def _refuse_alternatives(body: Sampling, strategy: str) -> None:
    """Raises ApiError where alternatives are wanted of a strategy that hands over whole answers: it keeps none."""
    key, least = ("top_logprobs", "leave it out") if isinstance(body, ChatBody) else ("logprobs", "send 0")
    if getattr(body, key):
        sentence = (
            f"{strategy} tells how likely its answers' tokens are, and not which others were: {least}, or ask for"
        )
        raise ApiError(400, f"{key}: {sentence} another strategy.", "unsupported", key)


def _schema(body: Sampling) -> dict[str, Any] | None:
    """The JSON schema that response_format holds answers to; None for free text. Raises ApiError where it names none."""
    form = body.response_format
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return {"type": "object"}
    schema = (form.json_schema or {}).get("schema")
    if not isinstance(schema, dict) or not schema:
        raise ApiError(
            400,
            'response_format has no schema. Send {"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}.',
            "invalid_value",
            "response_format.json_schema.schema",
        )
    return schema


def asked_tokens(body: Sampling) -> int | None:
    """The most tokens that the body asks for; None where it does not say."""
    if isinstance(body, ChatBody) and body.max_completion_tokens is not None:
        return body.max_completion_tokens
    if isinstance(body, CompletionBody) and body.max_tokens is None:
        return _COMPLETION_DEFAULT
    return body.max_tokens


def _lane(body: Sampling, served: dict[str, Any], suffix: dict[str, Any] | None) -> dict[str, Any]:
    """The lane of the body's own key, else of the name, else the served one, with the body's values put in.

    A strategy that was asked for stays: temperature and top_p have no effect on greedy and beams, which many clients
    send unasked. Where nobody asked for one, a temperature or a filter makes the served model draw; temperature 0 is greedy.
    """
    if body.lane is not None and suffix is not None:
        raise ApiError(
            400, "Both the model's name and lane say how to decode. Leave one of them out.", "invalid_value", "lane"
        )
    own = body.lane if body.lane is not None else suffix
    if isinstance(own, str):
        own = {"strategy": own} if own in STRATEGIES else split_name(f"x:{own}")[1]
    lane = dict(own if own is not None else served)
    strategy = lane.get("strategy")
    if not isinstance(strategy, str) or strategy not in STRATEGIES:
        raise ApiError(400, f"lane's strategy must be one of {', '.join(STRATEGIES)}.", "invalid_value", "lane")
    given = {key: value for key in _DRAWING if (value := getattr(body, key)) is not None}
    if own is None and given:
        if given.get("temperature") == 0:
            lane = {"strategy": "greedy", **_penalties_of(lane)}
        elif strategy in SEARCHES:
            lane = {"strategy": "sample", "temperature": 1.0, **_penalties_of(lane)}
    used = keys_of(str(lane["strategy"]))
    lane |= {key: _drawn(key, value) for key, value in given.items() if key in used}
    for key, setting in _PENALTIES.items():
        if (value := getattr(body, key)) is not None:
            lane[setting] = value
    return lane


def _penalties_of(lane: dict[str, Any]) -> dict[str, Any]:
    return {key: lane[key] for key in (*_PENALTIES.values(), "no_repeat_ngram_size") if key in lane}


def _drawn(key: str, value: float) -> float:
    if key == "top_p":
        return max(value, _LEAST_MASS)
    return max(value, 0) if key == "top_k" else value
