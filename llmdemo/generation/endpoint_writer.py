"""An OpenAI-compatible endpoint that writes, several calls at a time. Which addresses may be asked: evaluation/endpoint_address.

Answers come from its chat. Instructions are sampled as Magpie does, so from its plain completions: the turn markers that
its model was trained with, up to where the user's text begins.
"""

import re
from dataclasses import dataclass

from llmdemo.arena.metrics import ending_loop
from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.evaluation.endpoint import Endpoint, Said
from llmdemo.generation.calls import Calls
from llmdemo.generation.writers import Sampling, Tell, Text
from llmdemo.settings.generation import GenerationSpec, TurnTemplate

_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|\w+|[^\w\s]")


@dataclass(frozen=True)
class _Turns:
    """A family's turns: what stands before each, `{role}` its speaker, and after each."""

    before: str
    after: str
    assistant: str = "assistant"
    system: bool = True
    """Whether it has system turns; else a user says it."""


TEMPLATES: dict[TurnTemplate, _Turns] = {
    "chatml": _Turns("<|im_start|>{role}\n", "<|im_end|>\n"),
    "llama3": _Turns("<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>"),
    "gemma": _Turns("<start_of_turn>{role}\n", "<end_of_turn>\n", "model", system=False),
    "phi3": _Turns("<|{role}|>\n", "<|end|>\n"),
}


class EndpointWriter:
    """Writes with the endpoint that the settings name. `close` it after use."""

    def __init__(self, spec: GenerationSpec, model: str, key: str, tell: Tell):
        """Raises EndpointFailed for an address that may not be asked."""
        self.name = model.strip()
        self._spec = spec
        self._wants_logprobs = bool(spec.most_perplexity or spec.perplexity_share)
        hint = say("endpoint_maker_hint")
        self._lanes = [Endpoint(spec.url, model, key, spec.timeout, hint=hint) for _ in range(spec.parallel)]
        self._calls = Calls(self._lanes, tell, Endpoint.close)

    @property
    def failure(self) -> BaseException | None:
        return self._calls.failure

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()

    def answers(self, conversations: list[list[dict]], sampling: Sampling) -> list[Text]:
        more = {"logprobs": True} if self._wants_logprobs else {}

        def ask(lane: Endpoint, place: int) -> Said:
            said = lane.chat(conversations[place], **_body(sampling, place), **more)
            if self._wants_logprobs and said.text and said.logprobs is None:
                raise UserError("err_generation_no_logprobs")
            return said

        return self._texts(ask, len(conversations))

    def instructions(self, conversations: list[list[dict]], sampling: Sampling) -> list[Text]:
        turns = TEMPLATES[self._spec.template]
        stop = [turns.after.strip()]

        def ask(lane: Endpoint, place: int) -> Said:
            return lane.complete_text(up_to_user(conversations[place], turns), stop=stop, **_body(sampling, place))

        found = self._texts(ask, len(conversations))
        for each in found:  # a server that does not know `stop`
            each.text, end, _ = each.text.partition(stop[0])
            each.ended = each.ended or bool(end)
        return found

    def _texts(self, ask, count: int) -> list[Text]:
        said = self._calls.map(ask, range(count))
        return [
            Text(each.text, each.ended, _loops(each.text), each.logprobs) if each else Text(reason="lost")
            for each in said
        ]


def up_to_user(conversation: list[dict], turns: _Turns) -> str:
    """The turns so far and the beginning of a user's next one, as the family writes them (without its first token, which
    servers add)."""
    names = {"assistant": turns.assistant} | ({} if turns.system else {"system": "user"})
    parts = [
        f"{turns.before.format(role=names.get(turn['role'], turn['role']))}{turn['content']}{turns.after}"
        for turn in conversation
    ]
    return "".join([*parts, turns.before.format(role="user")])


def _body(sampling: Sampling, place: int) -> dict:
    """The settings of one call. Seeds of many servers are 32-bit integers."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.most,
        "seed": sampling.seeds[place] % 2**31,
    }


def _loops(text: str) -> bool:
    numbers: dict[str, int] = {}
    return ending_loop([numbers.setdefault(word, len(numbers)) for word in _WORD.findall(text)]) is not None
