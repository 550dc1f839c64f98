"""Makes records with a model, batch by batch, and says of each why it is kept or not. Knows no job and no file.

A record's draws are seeded by its number alone, so that it is made again by the same model and settings, in whichever
batch it goes and after whatever stop.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from llmdemo.arena.metrics import ending_loop
from llmdemo.core.errors import UserError
from llmdemo.data.encode import encode_prompt
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.draws import Draws
from llmdemo.decoding.engine import context_length, end_tokens
from llmdemo.decoding.prompts import written
from llmdemo.generation.template import UserTurn, user_turn
from llmdemo.settings.generation import GenerationSpec

BATCH = 32
_SHORTEST = 8
"""Characters of an instruction: fewer are a greeting or a fragment."""
_SENTENCE = re.compile(r"[.!?…][\"')\]*_]*(?=\s|$)|[。！？][」』）]*|\n(?=\s*\n)")
_LEAST_OF_CUT = 0.5
"""Of an answer's characters, what must be left when it is cut at the end of a sentence."""
_LETTERS = re.compile(r"[^\W\d_]")
REASONS = ("short", "unended", "repeats", "same", "echo", "empty", "no_room", "refused")
"""Why a record is not kept: the instruction is too short; it or the answer does not end within its tokens; one of both ends
in a loop; the instruction was there before; the answer is the instruction; there is no answer; the context is too short;
the chat template does not take the turns."""


@dataclass
class Made:
    """One attempt: a record, or why it is none."""

    number: int
    messages: list[dict] = field(default_factory=list)
    """Turns {"role", "content"}."""
    reason: str = ""
    """One of REASONS; "" where it is kept."""
    cut: bool = False
    """Whether an answer was longer than allowed and ends with its last whole sentence."""
    perplexity: float | None = None
    """Of the answers by the model itself, at temperature 1."""

    def to_dict(self) -> dict:
        return {
            "number": self.number,
            "messages": self.messages,
            "reason": self.reason,
            "cut": self.cut,
            "perplexity": None if self.perplexity is None else round(self.perplexity, 4),
        }


class Maker:
    """Writes with one model. `tell(share)` is called at each token with how much of the batch is about done, 0 to 1."""

    def __init__(self, model, tokenizer, spec: GenerationSpec, seen: set[str], tell: Callable[[float], None]):
        """`seen`: keys (see `key_of`) of instructions that are there already; grows with those that are kept."""
        self._model, self._tokenizer, self._spec = model, tokenizer, spec
        self._seen, self._tell = seen, tell
        self._weights = fused_weights(model)
        self._ends = end_tokens(model)
        self._context = context_length(model) or 10**9
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    def conversations(self, numbers: list[int]) -> list[Made]:
        """Magpie: instruction and answer, `turns` times."""
        made = [Made(number, self._system()) for number in numbers]
        logprobs: dict[int, list[float]] = {number: [] for number in numbers}
        for turn in range(self._spec.turns):
            going = [each for each in made if not each.reason]
            self._instruct(going, turn)
            self._answer([each for each in going if not each.reason], turn, logprobs)
        return self._finished(made, logprobs)

    def answers(self, prompts: dict[int, list[dict]]) -> list[Made]:
        """Answers to the turns of each number."""
        made = [Made(number, [*self._system(turns), *turns]) for number, turns in prompts.items()]
        logprobs: dict[int, list[float]] = {number: [] for number in prompts}
        self._answer(made, 0, logprobs)
        return self._finished(made, logprobs)

    # ---- inside

    def _system(self, turns: list[dict] | None = None) -> list[dict]:
        has_own = bool(turns) and turns is not None and turns[0]["role"] == "system"
        return [{"role": "system", "content": self._spec.system}] if self._spec.system and not has_own else []

    def _instruct(self, going: list[Made], turn: int) -> None:
        spec = self._spec
        places: list[UserTurn] = [user_turn(each.messages, self._tokenizer) for each in going]
        ends = sorted({*self._ends, *(token for place in places for token in place.end_ids)})
        draws = Draws([seed_of(spec.seed, each.number, 2 * turn) for each in going], spec.temperature, spec.top_p)
        texts = self._written([place.ids for place in places], going, spec.max_prompt_tokens, draws, ends)
        for each, place, (text, ended, ids) in zip(going, places, texts, strict=True):
            if each.reason:
                continue
            text, cut, _ = text.partition(place.end_text) if place.end_text and not place.end_ids else (text, "", "")
            text = text.strip()
            each.reason = self._fault(text, ended or bool(cut), ids, key_of(text) if turn == 0 else "")
            each.messages.append({"role": "user", "content": text})

    def _fault(self, text: str, ended: bool, ids: list[int], key: str) -> str:
        """Why an instruction is of no use; "" for a good one."""
        if not ended:
            return "unended"
        if len(text) < _SHORTEST or not _LETTERS.search(text):
            return "short"
        if ending_loop(ids):
            return "repeats"
        return "same" if key in self._seen else ""

    def _answer(self, going: list[Made], turn: int, logprobs: dict[int, list[float]]) -> None:
        spec = self._spec
        prompts = []
        for each in going:
            try:
                prompts.append(encode_prompt(each.messages, self._tokenizer))
            except UserError:
                prompts.append([])
                each.reason = "refused"
        seeds = [seed_of(spec.seed, each.number, 2 * turn + 1) for each in going]
        draws = Draws(seeds, spec.answer_temperature, spec.top_p)
        texts = self._written(prompts, going, spec.max_new_tokens, draws, self._ends)
        for place, (each, (text, ended, ids)) in enumerate(zip(going, texts, strict=True)):
            if each.reason:
                continue
            loops = ending_loop(ids) is not None
            if not ended and not loops and (shorter := whole_sentences(text)):
                text, ended, each.cut = shorter, True, True
            text = text.strip()
            asked = each.messages[-1]["content"]
            each.messages.append({"role": "assistant", "content": text})
            logprobs[each.number] += draws.logprobs[place]
            if not text:
                each.reason = "empty"
            elif loops:
                each.reason = "repeats"
            elif not ended:
                each.reason = "unended"
            elif key_of(text) == key_of(asked):
                each.reason = "echo"

    def _written(self, prompts, going: list[Made], most: int, draws: Draws, ends: list[int]):
        """[(text, whether it ended, ids)] of each; rows without room get the reason no_room and are not asked."""
        for each, prompt in zip(going, prompts, strict=True):
            if not each.reason and not 0 < len(prompt) <= self._context - most:
                each.reason = "no_room"
        asked = [place for place, each in enumerate(going) if not each.reason]
        ids = [prompts[place] for place in asked]

        def choose(logits, places):
            return draws(logits, [asked[place] for place in places])

        answers = written(self._model, ids, most, self._pad, choose, self._tell, end_ids=ends, weights=self._weights)
        found: list[tuple[str, bool, list[int]]] = [("", False, [])] * len(going)
        for place, answer in zip(asked, answers, strict=True):
            text = self._tokenizer.decode(
                answer.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            found[place] = (text, answer.ended, answer.token_ids)
        return found

    def _finished(self, made: list[Made], logprobs: dict[int, list[float]]) -> list[Made]:
        """With perplexities, and of instructions that are alike within the batch the first."""
        for each in made:
            values = logprobs[each.number]
            each.perplexity = math.exp(min(50.0, -math.fsum(values) / len(values))) if values else None
            asked = next((turn["content"] for turn in each.messages if turn["role"] == "user"), "")
            if not each.reason and self._spec.kind == "magpie":
                if key_of(asked) in self._seen:
                    each.reason = "same"
                else:
                    self._seen.add(key_of(asked))
        return made


def whole_sentences(text: str) -> str:
    """The text up to the end of its last whole sentence or paragraph; "" where that is less than half of it."""
    end = max((found.end() for found in _SENTENCE.finditer(text)), default=0)
    return text[:end] if end >= _LEAST_OF_CUT * len(text) else ""


def key_of(text: str) -> str:
    """What instructions are compared by: letters and digits, without case, blanks and signs."""
    return "".join(character for character in text.casefold() if character.isalnum())


def seed_of(seed: int, number: int, part: int) -> int:
    """63 bits from the set's seed, the record's number and the part of the record."""
    digest = hashlib.sha256(f"{seed}\0{number}\0{part}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def batches(numbers: Iterator[int], size: int = BATCH) -> Iterator[list[int]]:
    """The numbers in lists of `size`; ends where they end."""
    while part := list(islice(numbers, size)):
        yield part
