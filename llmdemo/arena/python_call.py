"""A lane as the Python that repeats it with transformers alone: what "copy as Python" puts on the clipboard.

Knows settings and names; runs nothing.
"""

import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llmdemo.arena.prompt import Prompt
from llmdemo.data.render import own_bos, render
from llmdemo.decoding import PENALTIES, DecodeSettings
from llmdemo.models import starter
from llmdemo.models.catalog import ModelEntry
from llmdemo.settings.lane import BEAMS, CONSTRAINTS, OFF, RARE_FILTERS, SEVERAL, LaneSettings

_BEST_OF_N = """\
ids = output.sequences[:, inputs["input_ids"].shape[1]:]
logprobs = torch.stack(output.logits, dim=1).log_softmax(-1).gather(-1, ids[..., None])[..., 0]
ends = torch.isin(ids, torch.tensor(model.generation_config.eos_token_id)).long()
said = ends.cumsum(1) - ends == 0  # the tokens of each answer, its end included, without what fills up the row
best = ((logprobs * said).sum(1) / said.sum(1)).argmax()
print(tokenizer.decode(ids[best], skip_special_tokens=True))
"""
_TEXTS = """\
texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
"""
_VOTE = """\
import re
from collections import Counter
from itertools import chain
{texts}answers = [{answer} for text in texts]
votes = Counter(chain.from_iterable(answers))
print(texts[answers.index([votes.most_common(1)[0][0]])] if votes else texts[0])
"""
_MBR = """\
from sacrebleu.metrics import CHRF
{texts}chrf = CHRF()
print(max(texts, key=lambda text: sum(chrf.sentence_score(text, [other]).score for other in texts)))
"""
_NUMBER = r"[-−]?\d[\d,]*(?:\.\d+)?"


def _choosing(lane: LaneSettings) -> str:
    """The lines that print the lane's answer out of `output`, of generate with num_return_sequences."""
    if lane.strategy == "best_of_n":
        return _BEST_OF_N
    if lane.strategy == "mbr":
        return _MBR.format(texts=_TEXTS)
    found = {
        "text": "[text.strip()]",
        "number": f"re.findall({_NUMBER!r}, text)[-1:]",
        "regex": f"re.findall({lane.vote_regex!r}, text)[-1:]",
    }
    return _VOTE.format(texts=_TEXTS, answer=found[lane.vote_on])


_HEAD = """\
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

{remark}source = {name!r}
tokenizer = AutoTokenizer.from_pretrained(source{pinned})
model = AutoModelForCausalLM.from_pretrained(source{pinned}, dtype=torch.{dtype}, use_safetensors=True).eval()
{prompt}
"""
_CHAT = """\
messages = {messages}
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)"""
_RAW = 'inputs = tokenizer({raw!r}, return_tensors="pt")'
_CALL = """
# {name}
{remarks}{seed}output = model.generate(
    **inputs,
    max_new_tokens={max_new_tokens},
{arguments}    pad_token_id=tokenizer.eos_token_id,
)
{choosing}"""
_PRINT = """\
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""


_OFF = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "min_p": 0.0,
    "min_new_tokens": 0,
    "min_length": 0,
}
"""What generate takes from a model's generation_config.json unless it is told otherwise, and the value that is none of it."""

_FILTERS = ("min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
"""Filters that generate has, and whose argument is left out where they are off."""
_STOCHASTIC = "Plain samples, which may repeat: transformers' generate has no stochastic beams."
_GONE = {
    "contrastive": "Greedy instead: contrastive search has left transformers.",
    "dola": "Greedy instead: DoLa has left transformers.",
}
_ASSISTANT = "Plain greedy, which says the same: give assistant_model= to have it drafted by a smaller model."
_NOT_IN_GENERATE = {"xtc": ("xtc_threshold", "xtc_probability"), "mirostat": ("mirostat_tau", "mirostat_eta")}
"""Settings of strategies, beside filters, that generate does not have."""


@dataclass(frozen=True)
class Source:
    """Where the script takes the model from."""

    name: str
    """A folder, or a repository on the hub."""
    revision: str = ""
    """The repository's commit; "" for a folder."""
    remark: str = ""
    """What who runs the script must know or do first; one line."""


class _Code(str):
    """An argument that is written as it is."""

    def __repr__(self) -> str:
        return str(self)


def source_of(entry: ModelEntry, guest: bool) -> Source:
    """What an owner is told is what the app itself loads; a guest is told no path of this machine."""
    if entry.kind == "hub":
        return Source(entry.id.partition("@")[0], entry.revision)
    if not guest:
        return Source(str(entry.path))
    if entry.kind == "starter":
        exact = entry.revision == starter.REVISION
        remark = "" if exact else "The app's own copy was rounded to 4 bits: its texts may differ from this one's."
        return Source(starter.REPOSITORY, starter.REVISION, remark)
    return Source("FOLDER-OF-THE-MODEL", remark="This model is on the app's machine: ask its owners for a copy.")


def own_filters(folder: Path | None) -> dict:
    """The arguments that switch off what the model's own generation_config.json would add to every call."""
    try:
        own = json.loads((folder / "generation_config.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        own = {}
    if not isinstance(own, dict):
        return {}
    return {key: off for key, off in _OFF.items() if own.get(key) not in (None, off)}


def plain_prompt(messages, tokenizer) -> str:
    """What a chat is as text where the tokenizer has no template, without the BOS that the tokenizer adds by itself."""
    return render([list(messages)], tokenizer, generation=True)[0].removeprefix(own_bos(tokenizer))


def python_call(
    source: Source, dtype: str, prompt: Prompt, settings: DecodeSettings, switched_off: dict | None = None
) -> str:
    """A script with one `model.generate(...)` a lane. Greedy and beam lanes repeat exactly (in fp32); samplers draw from
    the same distribution with another random generator. Every filter is set, because generate's defaults are not off;
    `switched_off` (own_filters) are further arguments of every call.
    """
    chat = _CHAT.format(messages=_pretty(prompt.messages))
    text = chat if prompt.raw is None else _RAW.format(raw=prompt.raw)
    calls = [_call(lane, settings, switched_off or {}) for lane in settings.lanes]
    pinned = f", revision={source.revision!r}" if source.revision else ""
    remark = f"# {source.remark}\n" if source.remark else ""
    return _HEAD.format(name=source.name, pinned=pinned, remark=remark, dtype=dtype, prompt=text) + "".join(calls)


def _call(lane: LaneSettings, settings: DecodeSettings, switched_off: dict) -> str:
    values = {**switched_off, **generate_arguments(lane), **penalty_arguments(lane, settings)}
    arguments = "".join(f"    {key}={value!r},\n" for key, value in values.items())
    if settings.stop:  # generate keeps the stop string in its text
        arguments += f"    stop_strings={list(settings.stop)!r},\n    tokenizer=tokenizer,\n"
    seed = f"set_seed({settings.seed % 2**32})\n" if lane.samples else ""
    name = " ".join(
        "".join(c if c.isprintable() else " " for c in lane.name).split()
    )  # it stands in a comment: one line
    remarks = "".join(f"# {remark}\n" for remark in left_out(lane))
    return _CALL.format(
        name=name,
        remarks=remarks,
        seed=seed,
        max_new_tokens=settings.max_new_tokens,
        arguments=arguments,
        choosing=_choosing(lane) if lane.strategy in SEVERAL else _PRINT,
    )


def generate_arguments(lane: LaneSettings) -> dict:
    """The arguments of transformers' generate for one lane."""
    if lane.strategy in ("greedy", *_GONE) or lane.assistant_model_id:
        return {"do_sample": False, "num_beams": 1}
    if lane.strategy == "speculative":
        return {"do_sample": False, "num_beams": 1, "prompt_lookup_num_tokens": lane.prompt_lookup_num_tokens}
    if lane.strategy == "stochastic_beam":
        filters = {"temperature": lane.temperature, "top_k": 0, "top_p": 1.0}
        return {"do_sample": True, **filters, "num_return_sequences": lane.num_beams}
    if lane.strategy in BEAMS:
        keys = ("num_beams", "length_penalty", "early_stopping")
        return {"do_sample": False, **{key: getattr(lane, key) for key in keys}}
    filters = {"temperature": lane.temperature, "top_k": lane.top_k, "top_p": lane.top_p}
    rarer = {key: getattr(lane, key) for key in _FILTERS if getattr(lane, key) != _OFF[key]}
    several = {"num_return_sequences": lane.num_return_sequences} if lane.strategy in SEVERAL else {}
    logits = {"output_logits": True, "return_dict_in_generate": True} if lane.strategy == "best_of_n" else {}
    return {"do_sample": True, **filters, **rarer, **several, **logits}


def penalty_arguments(lane: LaneSettings, settings: DecodeSettings) -> dict:
    """The further arguments of generate that change a lane's scores, of those that are on."""
    names = ("repetition_penalty", "no_repeat_ngram_size", "min_new_tokens")
    values: dict[str, object] = {key: getattr(lane, key) for key in names if getattr(lane, key) != PENALTIES[key]}
    banned = [list(ids) for ids, bias in settings.resolved.biases if bias == -math.inf]
    biased = [[list(ids), bias] for ids, bias in settings.resolved.biases if bias != -math.inf]
    if lane.guidance_scale != 1.0:
        negative = list(settings.resolved.negative)
        values |= {"guidance_scale": lane.guidance_scale}
        values |= {"negative_prompt_ids": _Code(f"torch.tensor([{negative}])")} if negative else {}
    return {
        **values,
        **({"bad_words_ids": banned} if banned else {}),
        **({"sequence_bias": biased} if biased else {}),
    }


def left_out(lane: LaneSettings) -> list[str]:
    """A line for each setting of the lane that generate does not have."""
    on = [
        key
        for key in ("frequency_penalty", "presence_penalty", "dry_multiplier", "reward_model_id", *CONSTRAINTS)
        if getattr(lane, key)
    ]
    if lane.samples:
        on += ["filter_order"] if lane.filter_order == "filters_first" else []
        on += [key for key in RARE_FILTERS if key not in _FILTERS and getattr(lane, key) != OFF[key]]
        on += _NOT_IN_GENERATE.get(lane.strategy, ())
    if lane.strategy == "diverse_beam":
        on += ["num_beam_groups", "diversity_penalty"]
    if lane.strategy == "stochastic_beam":
        return [_STOCHASTIC, *map(partial(_left, lane), on)]
    gone = _GONE.get(lane.strategy) or (_ASSISTANT if lane.assistant_model_id else "")
    return [*([gone] if gone else []), *(_left(lane, key) for key in on)]


def _left(lane: LaneSettings, key: str) -> str:
    return f"{key}={getattr(lane, key)!r} is left out: transformers' generate has no such setting."


def _pretty(messages: tuple[dict, ...]) -> str:
    return "[\n" + "".join(f"    {message!r},\n" for message in messages) + "]"
