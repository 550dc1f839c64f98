"""Evaluations of kind "decoding": one or two models, several decoding strategies, the same records and seeds for all.

The lanes of many records are decoded in lock step, one forward a step for all of them. The first few records are decoded
lane by lane instead, which gives the same answers and tells how long each takes alone.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain

from llmdemo.arena.prompt import Prompt
from llmdemo.arena.resolve import assistant_ids, check_assistant, resolved_of, reward_ids
from llmdemo.arena.text import cut_at
from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data.encode import encode_prompt
from llmdemo.decoding import DecodeSettings, LaneResult, decode_lanes, prepare
from llmdemo.decoding.engine import context_length
from llmdemo.decoding.together import decode_together
from llmdemo.evaluation.answers import identity, loaded, precision_of
from llmdemo.evaluation.checkers import Checker, agreement, checker_of
from llmdemo.evaluation.folder import Kept, content_key
from llmdemo.evaluation.grade_records import opinions
from llmdemo.evaluation.heldout import Example, example, held_out
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.judge import Pair
from llmdemo.evaluation.judges import title_of
from llmdemo.evaluation.reward_scores import RewardScorer
from llmdemo.evaluation.run_models import notes
from llmdemo.evaluation.search import told
from llmdemo.evaluation.strategies import table
from llmdemo.jobs.worker import Stopped
from llmdemo.models import catalog
from llmdemo.settings.evaluation import Spec
from llmdemo.settings.evaluation_decoding import CheckerSpec, DecodingSpec
from llmdemo.settings.lane import SEVERAL

FORMAT = 1
"""Raised when what a kept line means changes."""
_ALONE = 3
"""So many records are decoded lane by lane, for the seconds of each lane."""


def run_decoding(job: Job, home: Home, spec: Spec, key: str = "") -> dict:
    """The result: {kind, models, data, records, checker, judge, lanes, table, search, notes, seed}; records.jsonl too. `key`:
    of the judge's endpoint, where one checks the answers.

    Raises UserError, Stopped; a stop after some records were asked of every model leaves the result of those.
    """
    assert spec.decoding is not None, "only an evaluation of strategies comes here"
    examples, about = _examples(home, spec)
    entries = [catalog.resolve(home, model_id) for model_id in spec.model_ids]
    judges = spec.decoding.checker.kind == "judge"
    job.plan([("decoding", entry.title) for entry in entries] + [("judging", "")] * judges)
    kept = [_kept(home, entry, about["content_hash"], spec) for entry in entries]
    try:
        for entry, lines in zip(entries, kept, strict=True):
            job.next_phase()
            _ask(job, home, entry, examples, lines, spec)
        if judges:
            job.next_phase()
        graded = _graded(job, home, spec, examples, kept, key) if judges else None
    except Stopped:
        done = [each for each in examples if all(each.index in lines.lines for lines in kept)]
        if done and not judges:  # what no judge has read tells nothing; the answers are kept
            _write(job, home, spec, entries, done, kept, about)
        raise
    return _write(job, home, spec, entries, examples, kept, about, graded)


def _examples(home: Home, spec: Spec) -> tuple[list[Example], dict]:
    """What is asked, and {name, content_hash} of where it comes from."""
    assert spec.decoding is not None
    if not spec.decoding.prompts:
        held = held_out(home, spec)
        info = held.records.info
        found = [example(held.records, index) for index in held.indices]
        return found, {"name": info.name, "content_hash": info.content_hash}
    found = []
    for place, each in enumerate(spec.decoding.prompts[: spec.limit or None]):
        turns = [{"role": "user", "content": each["prompt"]}]
        found.append(Example(place, place, turns, turns, each["answer"]))
    return found, {"name": "", "content_hash": content_key({"prompts": list(spec.decoding.prompts)})}


def _kept(home: Home, entry, content_hash: str, spec: Spec) -> Kept:
    assert spec.decoding is not None
    about = {
        "format": FORMAT,
        "model": identity(entry),
        "data": content_hash,
        "settings": spec.decoding.settings,
        "precision": str(precision_of(spec, entry)),
    }
    return Kept(home, "decoding", about)


def _ask(job: Job, home: Home, entry, examples: list[Example], kept: Kept, spec: Spec) -> None:
    """Keeps a line for each example: {id, cells: [a lane each]}; what is kept already is not asked again."""
    assert spec.decoding is not None
    settings = settings_of(spec.decoding)
    missing = [each for each in examples if each.index not in kept.lines]
    done = len(examples) - len(missing)
    job.tell(done, len(examples))
    if not missing:
        return
    alone = _ALONE - sum(line["cells"][0]["seconds"] is not None for line in kept.lines.values())
    with ExitStack() as stack:
        model, tokenizer = stack.enter_context(loaded(entry, precision_of(spec, entry)))
        assistants = {}
        for draft in [catalog.resolve(home, model_id) for model_id in assistant_ids(settings)]:
            assistants[draft.id], other = stack.enter_context(loaded(draft, precision_of(spec, draft)))
            check_assistant(entry.title, tokenizer, draft.title, other)
        rewards = {model_id: RewardScorer(catalog.resolve(home, model_id)) for model_id in reward_ids(settings)}
        asking = Asking(model, tokenizer, settings, job, assistants, rewards)
        alone = max(0, alone)
        first = ((each, asking.cells(each)) for each in missing[:alone])
        for each, cells in chain(first, asking.together(missing[alone:])):
            kept.add([{"id": each.index, "cells": cells}])
            done += 1
            job.tell(done, len(examples), fresh=1)


@dataclass(frozen=True)
class Graded:
    """What a judge said of the answers."""

    opinions: dict[tuple[int, str], dict | None]
    """{"result": 1 … 5 or None, "feedback"} by (the example's index, the answer); None: nobody was asked."""
    told: dict
    """{judge, criteria, grade, error, asked, off_form, long, example}"""


def _graded(job: Job, home: Home, spec: Spec, examples: list[Example], kept: list[Kept], key: str) -> Graded:
    """Each answer that some lane chose, graded once. Raises Stopped."""
    assert spec.decoding is not None
    asked: dict[tuple[int, str], Pair] = {}
    for one in examples:
        for cell in _cells(one, kept):
            place = one.index, cell["text"]
            asked.setdefault(place, Pair(len(asked), _last_turn(one), one.reference, (cell["text"],)))
    found, told = opinions(job, home, spec.judge, list(asked.values()), key)
    by_place = {place: found.get(pair.index, [None])[0] for place, pair in asked.items()}
    about = {"judge": title_of(home, spec.judge), "criteria": spec.judge.criteria, "grade": spec.decoding.checker.grade}
    return Graded(by_place, about | told)


def _cells(one: Example, kept: list[Kept]) -> list[dict]:
    return [cell for lines in kept for cell in lines.lines[one.index]["cells"]]


def _last_turn(one: Example) -> str:
    """What the last user's turn asks."""
    return next((turn["content"] for turn in reversed(one.prompt) if turn["role"] == "user"), "")


def settings_of(spec: DecodingSpec) -> DecodeSettings:
    """The checked settings of the lanes."""
    return DecodeSettings.from_dict(spec.settings)


class Asking:
    """One model in memory, asked by every lane."""

    def __init__(
        self,
        model,
        tokenizer,
        settings: DecodeSettings,
        job: Job | None = None,
        assistants: dict | None = None,
        rewards: dict[str, RewardScorer] | None = None,
    ):
        """`assistants`: the lanes' draft models by their ids; `rewards`: the reward models that they choose by."""
        self._rewards = rewards
        self._model, self._tokenizer, self._job = model, tokenizer, job
        self._settings, self._assistants = settings, assistants or {}
        prepare(model, settings.precision)  # so that no lane's seconds hold what is done once

    def cells(self, one: Example) -> list[dict]:
        """What each lane answers: {text, answers [texts of a lane that draws several], tokens, forwards, seconds, ended}.

        Every record has draws of its own, which depend on its index and the seed alone. Each lane is decoded alone, which
        takes `seconds`. A prompt that leaves no room for an answer, or that the template refuses, is answered by nothing.
        """
        prompt, settings = self._prompt(one), self._settings_of(one)
        if not prompt:
            return self._nothing()
        found: dict[str, tuple[LaneResult, float]] = {}
        for lane in settings.lanes:
            started = time.perf_counter()
            steps = decode_lanes(self._model, prompt, replace(settings, lanes=(lane,)), assistants=self._assistants)
            for step in self._checked(steps):
                if step.done:
                    found[lane.name] = step.results[lane.name], time.perf_counter() - started
        return [self._cell(lane.strategy, *found[lane.name]) for lane in settings.lanes]

    def together(self, examples: list[Example]) -> Iterator[tuple[Example, list[dict]]]:
        """(example, cells) of each, in the order in which they are done; `seconds` is None: forwards serve several records."""
        waiting = []
        for one in examples:
            prompt = self._prompt(one)
            if prompt:
                waiting.append((one, prompt))
            else:
                yield one, self._nothing()
        asked = ((one.index, prompt, self._settings_of(one)) for one, prompt in waiting)
        by_index = {one.index: one for one, _ in waiting}
        results: dict[int, dict[str, LaneResult]] = {}
        for index, step in self._checked(decode_together(self._model, asked, self._assistants)):
            found = results.setdefault(index, {})
            found |= step.results
            if step.done:
                del results[index]
                yield (
                    by_index[index],
                    [self._cell(lane.strategy, found[lane.name], None) for lane in self._settings.lanes],
                )

    def _settings_of(self, one: Example) -> DecodeSettings:
        prompt = Prompt(messages=tuple(one.prompt))
        resolved = resolved_of(self._settings, self._tokenizer, prompt, rewards=self._rewards)
        return replace(self._settings, seed=(self._settings.seed + one.index) % 2**63, resolved=resolved)

    def _checked(self, steps):
        """`steps`, up to a stop of the job."""
        for step in steps:
            if self._job is not None:
                self._job.check()
            yield step

    def _nothing(self) -> list[dict]:
        nothing = {"text": "", "answers": [], "tokens": 0, "forwards": 0, "seconds": None, "ended": False}
        return [dict(nothing) for _ in self._settings.lanes]

    def _prompt(self, one: Example) -> list[int]:
        """The ids that are asked with; [] where the template refuses the turns, or no room is left for an answer."""
        try:
            prompt = encode_prompt(one.prompt, self._tokenizer)
        except UserError:
            return []
        room = (context_length(self._model) or 1_000_000) - self._settings.max_new_tokens
        return prompt if len(prompt) <= room else []

    def _cell(self, strategy: str, result: LaneResult, seconds: float | None) -> dict:
        several = strategy in SEVERAL
        return {
            "text": self._text(result.token_ids),
            "answers": [self._text(one.token_ids) for one in result.sequences] if several else [],
            "tokens": result.generated,
            "forwards": result.forwards,
            "seconds": seconds,
            "ended": result.finish_reason != "length",
        }

    def _text(self, token_ids) -> str:
        """As /evaluate reads an answer, cut at a stop string."""
        ids = list(token_ids)
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return cut_at(text, self._settings.stop)


def _write(
    job: Job,
    home: Home,
    spec: Spec,
    entries: list,
    examples: list[Example],
    kept: list[Kept],
    about: dict,
    graded: Graded | None = None,
) -> dict:
    """Writes the records and the result; the result."""
    assert spec.decoding is not None
    records = [_record(each, _cells(each, kept), spec.decoding.checker, graded) for each in examples]
    lanes = [lane.to_dict() for lane in settings_of(spec.decoding).lanes]
    job.folder.write_records(records)
    noted = [] if spec.decoding.prompts else notes(home, spec, held_out(home, spec), entries)
    unchecked = sum(record["cells"][0]["correct"] is None for record in records)
    result = {
        "kind": "decoding",
        "models": [{"id": entry.id, "title": entry.title, "identity": identity(entry)} for entry in entries],
        "data": about,
        "records": len(records),
        "checker": spec.decoding.checker.kind,
        "judge": graded.told if graded else None,
        "settings": spec.decoding.settings,
        "lanes": lanes,
        "table": table(records, len(entries), lanes, spec.decoding.pass_at, spec.split_seed),
        "search": _searched(spec, records, len(entries), len(lanes)),
        "notes": noted + ([{"code": "unchecked", "n": unchecked, "of": len(records)}] if unchecked else []),
        "seed": spec.split_seed,
    }
    job.folder.write("result", result)
    return result


def _searched(spec: Spec, records: list[dict], models: int, lanes: int) -> dict | None:
    """What the search found, or None where there was none: {strategy, values, first, told: one for each model}."""
    assert spec.decoding is not None
    search = spec.decoding.search
    return search and {**search, "told": told(records, models, lanes, search["first"], spec.split_seed)}


def _record(one: Example, told: list[dict], checker: CheckerSpec, graded: Graded | None = None) -> dict:
    """A record with a cell for each model and lane."""
    checked = _by_grade(one, checker.grade, graded) if graded else checker_of(checker)
    right = one.references
    cells = []
    for cell in told:
        answers = cell["answers"] or [cell["text"]]
        verdicts = [checked(text, right) for text in ([cell["text"]] if graded else answers)]
        cells.append(
            {
                "text": cell["text"],
                "correct": checked(cell["text"], right),
                "n": len(verdicts),
                "right": sum(bool(verdict) for verdict in verdicts),
                "agreement": agreement(checker, cell["text"], answers) if len(answers) > 1 else None,
                "tokens": cell["tokens"],
                "forwards": cell["forwards"],
                "seconds": cell["seconds"],
                "ended": cell["ended"],
            }
            | ({"opinion": graded.opinions[one.index, cell["text"]]} if graded else {})
        )
    if any(cell["correct"] is None for cell in cells):  # all lanes are compared on the same records
        cells = [{**cell, "correct": None, "right": 0} for cell in cells]
    return {
        "index": one.index,
        "row": one.row,
        "prompt": _last_turn(one),
        "messages": one.prompt,
        "reference": one.reference,
        "cells": cells,
    }


def _by_grade(one: Example, least: int, graded: Graded) -> Checker:
    def check(answer: str, _) -> bool | None:
        said = graded.opinions[one.index, answer]
        return None if said is None or said["result"] is None else said["result"] >= least

    return check
