"""Checks of a comparison's settings that a type and a range cannot say. Each raises UserError."""

import json
from typing import Any

from llmdemo.core.errors import UserError, json_reason
from llmdemo.core.patterns import check_pattern
from llmdemo.core.sentences import say
from llmdemo.settings.json_schema import check_schema
from llmdemo.settings.lane import CONSTRAINTS, MAX_ROWS, LaneSettings
from llmdemo.settings.schema import show

_MOST_BIASES = 300
_MOST_STOPS = 16
_LONGEST_WORD = 200
_MOST_CHOICES = 200


def check_least(lane: LaneSettings, most: int) -> None:
    if lane.min_new_tokens > most:
        raise UserError("err_lane_min_new_tokens", name=show(lane.name), min_new_tokens=lane.min_new_tokens, most=most)


def check_words(bad_words: tuple[str, ...], logit_bias: dict[str, float]) -> None:
    """Raises UserError for a banned or biased text that is empty, too long or one of too many, or a bias out of range."""
    for key, words in (("bad_words", bad_words), ("logit_bias", tuple(logit_bias))):
        if len(words) > _MOST_BIASES:
            raise UserError("err_too_many_words", key=key, n=len(words), most=_MOST_BIASES)
        wrong = next((word for word in words if not word.strip() or len(word) > _LONGEST_WORD), None)
        if wrong is not None:
            raise UserError("err_odd_word", key=key, wrong=show(wrong), most=_LONGEST_WORD)
    for word, bias in logit_bias.items():
        if not -100 <= bias <= 100:
            raise UserError("err_logit_bias", word=show(word), bias=show(bias))


def check_stops(stops: tuple[str, ...]) -> None:
    """Raises UserError for a stop string that is empty or too long, or one of too many; blanks and line ends are fine."""
    if len(stops) > _MOST_STOPS:
        raise UserError("err_many_stops", n=len(stops), most=_MOST_STOPS)
    wrong = next((stop for stop in stops if not 0 < len(stop) <= _LONGEST_WORD), None)
    if wrong is not None:
        raise UserError("err_odd_stop", wrong=show(wrong), most=_LONGEST_WORD)


def check_vote(lane: LaneSettings) -> None:
    """Raises UserError for a lane that votes on what a pattern finds, where there is none or RE2 cannot read it."""
    if lane.strategy != "self_consistency" or lane.vote_on != "regex":
        return
    if not lane.vote_regex:
        raise UserError("err_vote_regex", name=show(lane.name))
    check_pattern("vote_regex", lane.vote_regex)


def check_beams(lane: LaneSettings) -> None:
    """Raises UserError for beams that cannot be dealt into their groups, and for draws that nothing is left to."""
    if lane.strategy == "diverse_beam" and lane.num_beams % lane.num_beam_groups:
        raise UserError("err_beam_groups", name=show(lane.name), beams=lane.num_beams, groups=lane.num_beam_groups)
    if lane.strategy == "stochastic_beam" and lane.temperature == 0:
        raise UserError("err_nothing_to_draw", name=show(lane.name))


def as_schema(value: Any) -> Any:
    """A JSON schema that was given as text, as the object that it spells; "" is none. Raises UserError for no JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else {}
    except json.JSONDecodeError as error:
        why = say("reason_at_line", what=json_reason(error), line=error.lineno, column=error.colno)
        raise UserError("err_schema_no_json", value=show(value), why=why) from None
    except (ValueError, RecursionError) as error:
        raise UserError("err_schema_no_json", value=show(value), why=str(error)[:200]) from None


def check_constraint(lane: LaneSettings) -> None:
    """Raises UserError for a lane that is held to several forms at once, or to one that is none or too large."""
    on = [key for key, off in CONSTRAINTS.items() if getattr(lane, key) != off]
    if len(on) > 1:
        raise UserError("err_two_constraints", name=show(lane.name), one=on[0], other=on[1])
    if lane.json_schema:
        check_schema("json_schema", lane.json_schema)
    if len(lane.choice) > _MOST_CHOICES:
        raise UserError("err_many_choices", n=len(lane.choice), most=_MOST_CHOICES)
    wrong = next((text for text in lane.choice if not 0 < len(text) <= _LONGEST_WORD), None)
    if wrong is not None:
        raise UserError("err_odd_choice", wrong=show(wrong), most=_LONGEST_WORD)


def check_own_forward(lane: LaneSettings) -> None:
    """Raises UserError for more candidates than a forward has rows, and for guidance of beams that search in groups."""
    if lane.strategy == "contrastive" and not 1 <= lane.top_k <= MAX_ROWS:
        raise UserError("err_contrastive_k", name=show(lane.name), k=lane.top_k, most=MAX_ROWS)
    if lane.strategy == "diverse_beam" and lane.guidance_scale != 1.0:
        raise UserError("err_guided_groups", name=show(lane.name))
