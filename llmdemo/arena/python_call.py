"""A lane as the Python that repeats it with transformers alone: what "copy as Python" puts on the clipboard.

Knows settings and names; runs nothing.
"""

from llmdemo.arena.prompt import Prompt
from llmdemo.decoding import DecodeSettings, LaneSettings

_HEAD = """\
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

folder = {folder!r}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.{dtype}, use_safetensors=True).eval()
{prompt}
"""
_CHAT = """\
messages = {messages}
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)"""
_RAW = 'inputs = tokenizer({raw!r}, return_tensors="pt")'
_CALL = """
# {name}
{seed}output = model.generate(
    **inputs,
    max_new_tokens={max_new_tokens},
{arguments}    pad_token_id=tokenizer.eos_token_id,
)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""


def python_call(folder: str, dtype: str, prompt: Prompt, settings: DecodeSettings) -> str:
    """A script with one `model.generate(...)` a lane. Greedy and beam lanes repeat exactly (in fp32); samplers draw from
    the same distribution with another random generator. Every filter is set, because generate's defaults are not off.
    """
    chat = _CHAT.format(messages=_pretty(prompt.messages))
    text = chat if prompt.raw is None else _RAW.format(raw=prompt.raw)
    calls = [_call(lane, settings) for lane in settings.lanes]
    return _HEAD.format(folder=folder, dtype=dtype, prompt=text) + "".join(calls)


def _call(lane: LaneSettings, settings: DecodeSettings) -> str:
    arguments = "".join(f"    {key}={value!r},\n" for key, value in generate_arguments(lane).items())
    seed = f"set_seed({settings.seed % 2**32})\n" if lane.samples else ""
    return _CALL.format(name=lane.name, seed=seed, max_new_tokens=settings.max_new_tokens, arguments=arguments)


def generate_arguments(lane: LaneSettings) -> dict:
    """The arguments of transformers' generate for one lane."""
    if lane.strategy == "greedy":
        return {"do_sample": False, "num_beams": 1}
    if lane.strategy == "beam":
        keys = ("num_beams", "length_penalty", "early_stopping")
        return {"do_sample": False, **{key: getattr(lane, key) for key in keys}}
    filters = {"temperature": lane.temperature, "top_k": lane.top_k, "top_p": lane.top_p}
    return {"do_sample": True, **filters, **({"min_p": lane.min_p} if lane.min_p else {})}


def _pretty(messages: tuple[dict, ...]) -> str:
    return "[\n" + "".join(f"    {message!r},\n" for message in messages) + "]"
