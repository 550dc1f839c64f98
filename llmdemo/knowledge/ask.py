"""Asks a model questions after a few examples, and says which answers are right. Knows no job and no file."""

import hashlib
from collections.abc import Callable

import torch

from llmdemo.core.errors import UserError
from llmdemo.decoding.backend import fused_weights
from llmdemo.decoding.draws import Draws
from llmdemo.decoding.engine import context_length, end_tokens
from llmdemo.decoding.prompts import written
from llmdemo.knowledge.classes import class_of, is_right
from llmdemo.settings.knowledge import ProbeSpec

ROWS = 32
"""Prompts that go through the model together."""
Pair = tuple[str, list[str]]
"""A question and its right answers, the one that is learned first."""


class Asker:
    """Asks with one model; `examples`: pairs to draw the examples from."""

    def __init__(self, model, tokenizer, spec: ProbeSpec, examples: list[Pair]):
        if len(examples) <= spec.shots:
            raise UserError("err_probe_few_examples", n=len(examples), shots=spec.shots)
        self._model, self._tokenizer, self._spec, self._examples = model, tokenizer, spec, examples
        self._weights = fused_weights(model)
        self._ends = sorted({*end_tokens(model), *line_ends(tokenizer)})
        self._room = (context_length(model) or 10**9) - spec.max_new_tokens
        self._pad = tokenizer.pad_token_id or 0

    def asked(
        self, indices: list[int], pairs: list[Pair], tell: Callable[[float], None] = lambda share: None
    ) -> list[dict]:
        """[{index, class, greedy [right after each prompt], sampled, drawn, answer}] of each question.

        sampled of `drawn` drawn answers were right; answer: the likeliest answer after the first prompt. A question whose prompts
        are longer than the context is {index, class "", …}.
        """
        spec = self._spec
        prompts = [[self._prompt(pair[0], number) for number in range(spec.prompts)] for pair in pairs]
        fits = [max(map(len, each)) <= self._room for each in prompts]
        greedy: list[list[bool]] = [[] for _ in pairs]
        said = [""] * len(pairs)
        for number in range(spec.prompts):
            asked = [place for place in range(len(pairs)) if fits[place]]
            share = 0.6 / spec.prompts
            texts = self._write([prompts[place][number] for place in asked], None, _part(tell, number * share, share))
            for place, text in zip(asked, texts, strict=True):
                greedy[place].append(is_right(text, pairs[place][1]))
                said[place] = said[place] or text.strip().split("\n", 1)[0]
        open_ = [place for place in range(len(pairs)) if fits[place] and not any(greedy[place])]
        sampled = [0] * len(pairs)
        for number in range(spec.prompts if open_ else 0):
            rows = [place for place in open_ for _ in range(spec.samples)]
            seeds = [
                seed_of(spec.seed, indices[place], number, draw) for place in open_ for draw in range(spec.samples)
            ]
            share = 0.4 / spec.prompts
            told = _part(tell, 0.6 + number * share, share)
            texts = self._write([prompts[place][number] for place in rows], seeds, told)
            for place, text in zip(rows, texts, strict=True):
                sampled[place] += is_right(text, pairs[place][1])
        return [
            {
                "index": index,
                "class": class_of(greedy[place], sampled[place]) if fits[place] else "",
                "greedy": greedy[place],
                "sampled": sampled[place],
                "drawn": spec.prompts * spec.samples if place in open_ else 0,
                "answer": said[place][:200],
            }
            for place, index in enumerate(indices)
        ]

    def _prompt(self, question: str, number: int) -> list[int]:
        """Ids of `shots` examples, the same for all questions of a number but for the question itself, and the question."""
        generator = torch.Generator().manual_seed(seed_of(self._spec.seed, -1, number, 0))
        order = torch.randperm(len(self._examples), generator=generator)[: self._spec.shots + 1].tolist()
        chosen = [self._examples[place] for place in order if self._examples[place][0] != question][: self._spec.shots]
        lines = [f"Question: {asked}\nAnswer: {answers[0]}\n\n" for asked, answers in chosen]
        ids = self._tokenizer("".join(lines) + f"Question: {question}\nAnswer:")["input_ids"]
        return list(ids)

    def _write(self, prompts: list[list[int]], seeds: list[int] | None, tell: Callable[[float], None]) -> list[str]:
        """What is written to each prompt: the likeliest, or drawn with a seed each; ROWS at a time, so that a stop is soon heard."""
        temperature = 0.0 if seeds is None else self._spec.temperature
        seeds = [0] * len(prompts) if seeds is None else seeds
        found: list[str] = []
        for start in range(0, len(prompts), ROWS):
            part = prompts[start : start + ROWS]
            told = _part(tell, start / len(prompts), len(part) / len(prompts))
            draws = Draws(seeds[start : start + ROWS], temperature, 1.0)
            most = self._spec.max_new_tokens
            answers = written(
                self._model, part, most, self._pad, draws, told, end_ids=self._ends, weights=self._weights
            )
            found += [self._tokenizer.decode(answer.token_ids, skip_special_tokens=True) for answer in answers]
        return found


def line_ends(tokenizer) -> list[int]:
    """The tokens with a line break inside: after the one that ends the answer's line nothing counts."""
    ids = range(len(tokenizer))
    texts = tokenizer.batch_decode([[token] for token in ids])
    return [token for token, text in zip(ids, texts, strict=True) if "\n" in text and text.strip() == ""]


def seed_of(seed: int, index: int, prompt: int, draw: int) -> int:
    """63 bits: the same question gets the same draws in whichever batch it is asked."""
    digest = hashlib.sha256(f"{seed}\0{index}\0{prompt}\0{draw}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _part(tell: Callable[[float], None], start: float, size: float) -> Callable[[float], None]:
    return lambda share: tell(start + size * share)
