"""Makes records with a writer, batch by batch, and says of each why it is kept or not. Knows no job and no file.

A record's draws are seeded by its number alone, so that it is made again by the same model and settings, in whichever
batch it goes and after whatever stop.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmdemo.data.checks import NEAR, sketches
from llmdemo.evaluation.compare import conversation_text
from llmdemo.evaluation.judge import Pair
from llmdemo.generation.kinds import Numbered
from llmdemo.generation.passages import ANSWER, NUMBER, asking, is_grounded, is_question
from llmdemo.generation.referee import Opinion, Referee
from llmdemo.generation.sources import Source
from llmdemo.generation.writers import Sampling, Text, Writer
from llmdemo.settings.generation import GenerationSpec

_SHORTEST = 8
"""Characters of an instruction: fewer are a greeting or a fragment."""
_SENTENCE = re.compile(r"[.!?…][\"')\]*_]*(?=\s|$)|[。！？][」』）]*|\n(?=\s*\n)")
_LEAST_OF_CUT = 0.5
"""Of an answer's characters, what must be left when it is cut at the end of a sentence."""
_LETTERS = re.compile(r"[^\W\d_]")
_TELLING = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\W\d_]{4,}")
_WRAPPING = re.compile(r"^(?:<request>|[\"“”'`*\s])+|(?:</request>|[\"“”'`*\s])+$")
_PARAPHRASE = (
    "Rewrite the request below in other words. Keep its meaning, its language and every detail that is needed to answer "
    "it. Do not answer it. Reply with the rewritten request only.\n\n<request>\n{text}\n</request>"
)
_SECOND, _REWORDED, _ASKED = 8, 9, 10
"""Parts of a record beside its turns, for seeds."""
REASONS = (
    "short", "unended", "repeats", "same", "echo", "empty", "no_room", "refused", "copy", "details", "off", "perplexity",
    "equal", "tie", "order", "unclear", "grade", "no_question", "ungrounded",
)  # fmt: skip
"""Why a record is not kept: the instruction is too short; it or the answer does not end within its tokens; one of both ends
in a loop; the instruction was there before; the answer is the instruction; there is no answer; the context is too short;
the chat template does not take the turns; a paraphrase is nearly the original or quotes it, lacks a number of it, or shares
no word with it; the perplexity is above its bound; both answers are equal, or neither is better; the judge's choice changes
with the order of the answers, or cannot be told; its grade is too low; what was asked about a passage is no question, or
names nothing of it; the answer does not stand in it."""


@dataclass
class Made:
    """One attempt: a record, or why it is none."""

    number: int
    source: Source | None = None
    messages: list[dict] = field(default_factory=list)
    """Turns {"role", "content"}; of a pair those before its answers."""
    beside: dict[str, Any] = field(default_factory=dict)
    """The source's (Source.beside), where what follows the prompt is the source's too."""
    answers: list[str] = field(default_factory=list)
    """Of a pair."""
    opinion: Opinion | None = None
    """What judge or checker said."""
    reason: str = ""
    """One of REASONS; "" where it is kept; "lost" where it was not made: an endpoint failed, or a stop came."""
    cut: bool = False
    """Whether an answer was longer than allowed and ends with its last whole sentence."""
    perplexity: float | None = None
    """Of the answers, of a pair of the better one, by the model that wrote them, at temperature 1."""
    drawn: list[dict] = field(default_factory=list)
    """{"model", "temperature", "seed"} of each text, in the order of being drawn."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what a kind of record does not have is left out."""
        said: dict[str, Any] = {"number": self.number}
        if self.source:
            said["source"] = self.source.place
        if self.source and self.source.passage:
            said["passage"] = self.source.passage
        said |= {"messages": self.messages, **self.beside, "reason": self.reason, "cut": self.cut}
        said["perplexity"] = None if self.perplexity is None else round(self.perplexity, 4)
        if self.answers:
            said["answers"] = self.answers
        if self.opinion:
            said["judged"] = self.opinion
        return said | {"drawn": self.drawn}


def row_of(line: dict[str, Any]) -> dict[str, Any]:
    """The raw row of a data set for a kept record as Made.to_dict gives it."""
    if "answers" not in line:  # None stands for nothing: a column that only the last rows have would not be found
        return {"messages": line["messages"], "tools": line.get("tools"), "other_answers": line.get("other_answers")}
    winner = line["judged"]["winner"]
    return {"messages": line["messages"], "chosen": line["answers"][winner], "rejected": line["answers"][1 - winner]}


class Maker:
    """Makes with one writer, or for pairs two. Its records are "lost" once one of its parts has a `failure`."""

    def __init__(self, writers: Sequence[Writer], spec: GenerationSpec, seen: set[str], referee: Referee | None = None):
        """`seen`: keys (see `key_of`) of instructions that are there already; grows with those that are kept."""
        self._writer, self._second = writers[0], writers[-1]
        self._spec, self._seen, self._referee = spec, seen, referee

    @property
    def failure(self) -> BaseException | None:
        """What ended the work in the middle of a batch."""
        parts = (self._writer, self._second, self._referee)
        return next((part.failure for part in parts if part and part.failure), None)

    def conversations(self, batch: Numbered) -> list[Made]:
        """Magpie: instruction and answer, `turns` times."""
        made = [Made(number, source, self._system([])) for number, source in batch]
        logprobs: dict[int, list[float] | None] = {number: [] for number, _ in batch}
        for turn in range(self._spec.turns):
            self._instruct(made, turn)
            self._answer(made, turn, logprobs)
        return self._noted(self._graded(self._measured(made, logprobs)))

    def answers(self, batch: Numbered) -> list[Made]:
        """Answers to the prompts of each number."""
        made = [self._begun(number, source) for number, source in batch]
        logprobs: dict[int, list[float] | None] = {number: [] for number, _ in batch}
        self._answer(made, 0, logprobs)
        return self._graded(self._measured(made, logprobs))

    def pairs(self, batch: Numbered) -> list[Made]:
        """Two answers to each prompt, and which is better."""
        made = [self._begun(number, source) for number, source in batch]
        if batch and batch[0][1] is None:
            self._instruct(made, 0)
        both: list[dict[int, list[float] | None]] = []
        for writer, temperature, part in (
            (self._writer, self._spec.answer_temperature, 1),
            (self._second, self._spec.second_temperature, _SECOND),
        ):
            going = _going(made)
            both.append({})
            for each, text in zip(going, self._texts(writer, going, temperature, part), strict=True):
                said = self._said(each, text)
                both[-1][each.number] = text.logprobs
                if not each.reason:
                    each.answers.append(said)
        self._choose(made)
        chosen = {each.number: both[each.opinion["winner"]][each.number] for each in _going(made) if each.opinion}
        made = self._measured(made, chosen)
        return self._noted(made) if batch and batch[0][1] is None else made

    def paraphrases(self, batch: Numbered) -> list[Made]:
        """The last question before the first answer in other words; what follows it stays."""
        made = [self._begun(number, source) for number, source in batch]
        places = [max(n for n, turn in enumerate(each.messages) if turn["role"] == "user") for each in made]
        asked = [
            [*self._system([]), {"role": "user", "content": _PARAPHRASE.format(text=each.messages[n]["content"])}]
            for each, n in zip(made, places, strict=True)
        ]
        texts = self._texts(self._writer, made, self._spec.temperature, _REWORDED, asked)
        for each, n, text in zip(made, places, texts, strict=True):
            original = each.messages[n]["content"]
            said = _WRAPPING.sub("", text.text)
            each.reason = each.reason or self._fault(said, text) or unlike(original, said)
            each.messages[n] = {"role": "user", "content": said}
            if each.source:
                each.messages, each.beside = [*each.messages, *each.source.rest], each.source.beside
            if not each.reason and each.source and key_of(said) in map(key_of, each.source.right):
                each.reason = "echo"
        return self._noted(self._graded(self._measured(made, {})))

    def questions(self, batch: Numbered) -> list[Made]:
        """A question about each passage, and its answer, which must stand there."""
        made = [Made(number, source, self._system([])) for number, source in batch]
        told = {each.number: each.source.passage if each.source else "" for each in made}
        asked = [[*each.messages, *asking(told[each.number])] for each in made]
        questions: dict[int, str] = {}
        temperature = self._spec.answer_temperature  # the passages differ: the questions need not be drawn
        for each, text in zip(made, self._texts(self._writer, made, temperature, _ASKED, asked), strict=True):
            said = questions[each.number] = _WRAPPING.sub("", text.text)
            fault = self._fault(said, text)
            each.reason = each.reason or fault or ("" if is_question(said, told[each.number]) else "no_question")
            if each.reason:  # so that it can be read why
                each.messages.append(_user(said))
        going = _going(made)
        logprobs: dict[int, list[float] | None] = {}
        asked = [
            [*each.messages, _user(ANSWER.format(passage=told[each.number], question=questions[each.number]))]
            for each in going
        ]
        texts = self._texts(self._writer, going, self._spec.answer_temperature, 1, asked)
        for each, text in zip(going, texts, strict=True):
            shown = f"{told[each.number]}\n\n" if self._spec.with_passage else ""
            each.messages.append(_user(shown + questions[each.number]))
            said, logprobs[each.number] = self._said(each, text), text.logprobs
            if not each.reason and not is_grounded(said, told[each.number], questions[each.number]):
                each.reason = "ungrounded"
            each.messages.append({"role": "assistant", "content": said})
        return self._noted(self._graded(self._measured(made, logprobs)))

    # ---- inside

    def _begun(self, number: int, source: Source | None) -> Made:
        turns = [dict(turn) for turn in source.prompt] if source else []
        return Made(number, source, [*self._system(turns), *turns])

    def _system(self, turns: list[dict]) -> list[dict]:
        has_own = bool(turns) and turns[0]["role"] == "system"
        return [{"role": "system", "content": self._spec.system}] if self._spec.system and not has_own else []

    def _instruct(self, made: list[Made], turn: int) -> None:
        going, spec = _going(made), self._spec
        sampling = self._sampling(self._writer, going, spec.temperature, 2 * turn, spec.max_prompt_tokens)
        for each, text in zip(
            going, self._writer.instructions([each.messages for each in going], sampling), strict=True
        ):
            said = text.text.strip()
            each.reason = text.reason or self._fault(said, text)
            if turn == 0 and not each.reason and key_of(said) in self._seen:
                each.reason = "same"
            each.messages.append({"role": "user", "content": said})

    def _fault(self, said: str, text: Text) -> str:
        """Why an instruction is of no use; "" for a good one."""
        if not text.ended:
            return "unended"
        if len(said) < _SHORTEST or not _LETTERS.search(said):
            return "short"
        return "repeats" if text.loops else ""

    def _noted(self, made: list[Made]) -> list[Made]:
        """With the instructions of those that are kept among `seen`; of instructions that are alike the first is kept."""
        for each in _going(made):
            key = key_of(next(turn["content"] for turn in each.messages if turn["role"] == "user"))
            if key in self._seen:
                each.reason = "same"
            self._seen.add(key)
        return made

    def _answer(self, made: list[Made], turn: int, logprobs: dict[int, list[float] | None]) -> None:
        going = _going(made)
        texts = self._texts(self._writer, going, self._spec.answer_temperature, 2 * turn + 1)
        for each, text in zip(going, texts, strict=True):
            if text.reason:
                continue
            said, before = self._said(each, text), logprobs[each.number]
            each.messages.append({"role": "assistant", "content": said})
            logprobs[each.number] = None if before is None or text.logprobs is None else before + text.logprobs

    def _texts(
        self, writer: Writer, going: list[Made], temperature: float, part: int, asked: list[list[dict]] | None = None
    ) -> list[Text]:
        """What `writer` answers to each, or to what is `asked`; notes what was drawn, and why there is none."""
        sampling = self._sampling(writer, going, temperature, part, self._spec.max_new_tokens)
        texts = writer.answers([each.messages for each in going] if asked is None else asked, sampling)
        for each, text in zip(going, texts, strict=True):
            each.reason = text.reason
        return texts

    def _sampling(self, writer: Writer, going: list[Made], temperature: float, part: int, most: int) -> Sampling:
        seeds = [seed_of(self._spec.seed, each.number, part) for each in going]
        for each, seed in zip(going, seeds, strict=True):
            each.drawn.append({"model": writer.name, "temperature": temperature, "seed": seed})
        return Sampling(seeds, temperature, self._spec.top_p, most)

    def _said(self, each: Made, text: Text) -> str:
        """The answer as it is kept; sets the reason where it is of no use."""
        said, ended = text.text, text.ended
        if not ended and not text.loops and (shorter := whole_sentences(said)):
            said, ended, each.cut = shorter, True, True
        said = said.strip()
        if each.reason:
            return said
        if not said:
            each.reason = "empty"
        elif text.loops:
            each.reason = "repeats"
        elif not ended:
            each.reason = "unended"
        elif key_of(said) == key_of(each.messages[-1]["content"]):
            each.reason = "echo"
        return said

    def _measured(self, made: list[Made], logprobs: dict[int, list[float] | None]) -> list[Made]:
        """With perplexities, and the bound that they have."""
        for each in made:
            values = logprobs.get(each.number)
            each.perplexity = math.exp(min(50.0, -math.fsum(values) / len(values))) if values else None
            most = self._spec.most_perplexity
            if not each.reason and most and each.perplexity is not None and each.perplexity > most:
                each.reason = "perplexity"
        return made

    def _choose(self, made: list[Made]) -> None:
        going = _going(made)
        asked = [each for each in going if each.answers[0] != each.answers[1]]
        for each, opinion in zip(asked, self._opinions(asked, [(*each.answers,) for each in asked]), strict=True):
            each.opinion = opinion
            each.reason = _undecided(opinion)
            if opinion and not each.reason and self._too_low(opinion, opinion["winner"]):
                each.reason = "grade"
        for each in going:
            if each.answers[0] == each.answers[1]:
                each.reason = "equal"

    def _graded(self, made: list[Made]) -> list[Made]:
        """With the judge's grades of the last answers, where there is a judge."""
        going = [each for each in _going(made) if each.messages[-1]["role"] == "assistant"] if self._referee else []
        for each, opinion in zip(
            going, self._opinions(going, [(each.messages[-1]["content"],) for each in going]), strict=True
        ):
            each.opinion = opinion
            if opinion is None or not opinion["clear"]:
                each.reason = "lost" if opinion is None else "unclear"
            elif self._too_low(opinion, 0):
                each.reason = "grade"
        return made

    def _opinions(self, asked: list[Made], answers: list[tuple[str, ...]]) -> list[Opinion | None]:
        if self._referee is None:
            return []
        prompts = [each.messages if self._spec.kind == "pairs" else each.messages[:-1] for each in asked]
        right = [each.source.right if each.source and self._spec.kind == "pairs" else () for each in asked]
        pairs = [
            Pair(each.number, conversation_text(turns), known[0] if known and self._spec.judge.reference else "", texts)  # type: ignore[arg-type]
            for each, turns, known, texts in zip(asked, prompts, right, answers, strict=True)
        ]
        return self._referee.opinions(pairs, prompts, right)

    def _too_low(self, opinion: Opinion, side: int) -> bool:
        return bool(self._spec.least_grade) and opinion["grades"][side] < self._spec.least_grade


def _user(content: str) -> dict:
    return {"role": "user", "content": content}


def _going(made: list[Made]) -> list[Made]:
    return [each for each in made if not each.reason]


def _undecided(opinion: Opinion | None) -> str:
    """Why a pair has no better answer; "" where it has one."""
    if opinion is None:
        return "lost"
    if opinion["winner"] is not None:
        return ""
    if not opinion["clear"]:
        return "unclear"
    return "tie" if opinion["agreed"] else "order"


def unlike(original: str, said: str) -> str:
    """Why `said` is no paraphrase of `original`: "copy", nearly the same or around it; "details", a number is gone; "off", not
    one longer word, or sign of a script without spaces, in common, as answers and excuses have it; else ""."""
    if key_of(original) in key_of(said):
        return "copy"
    first, second = sketches([original, said])
    if (first == second).mean() >= NEAR:
        return "copy"
    if set(NUMBER.findall(original)) - set(NUMBER.findall(said)):
        return "details"
    words = set(_TELLING.findall(original.casefold()))
    return "off" if words and words.isdisjoint(_TELLING.findall(said.casefold())) else ""


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
