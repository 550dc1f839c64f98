"""What the model knew before the run of some of its records: loss and right answers by class of knowledge at each evaluation.

The classes are a probe's (llmdemo/knowledge, arXiv 2405.05904). A fixed few of each are asked in the run's own form, greedily,
and an answer is right as it is in the probe. Knows no steps and no events.
"""

from collections.abc import Iterator
from itertools import groupby

import torch

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.data.encode import encode_many
from llmdemo.knowledge.classes import is_right, pair_of
from llmdemo.knowledge.found import drawn, finished, longest_answer, probe_for
from llmdemo.models.load import positions
from llmdemo.settings.training import TrainConfig
from llmdemo.training.batches import NOT_TRAINED, TokenRows
from llmdemo.training.objectives.base import Objective, Place, Source
from llmdemo.training.objectives.writing import write_greedily

ROWS = 32
"""Questions that are answered together: as many as the probe asked together."""
_SHOWN = 120
"""Characters of a question or an answer that an event holds."""


def known_rows(source: Source, config: TrainConfig, tokenizer) -> tuple[TokenRows, dict, list[str]]:
    """(rows, facts, notes) of the records that are asked again; no rows where no probe is known.

    Rows are encoded as the run's are, with the answer alone as labels; facts: {"records": [{index, class, trained, question,
    answers}], "most": tokens of an answer, "probe_id"}. Raises UserError where the probe that is named cannot be used.
    """
    info = source.records.info
    probe = probe_for(source.home, info.content_hash, config.model_id, config.probe_id)
    if probe is None:
        return TokenRows.from_lists([]), {}, []
    try:
        found = finished(probe)[1]
    except UserError as error:
        if config.probe_id:
            raise
        return TokenRows.from_lists([]), {}, [error.message]  # nobody asked for this one: the run goes on without it
    chosen = drawn(found, source.train, source.held_out, config.probe_records, config.seed)
    records = [source.records[each["index"]] for each in chosen]
    encoded = encode_many(iter(records), tokenizer, config.max_length, "response", refuse=False)
    rows, asked = [], []
    for about, record, row in zip(chosen, records, encoded, strict=True):
        pair = pair_of(record)
        if pair and row.trained and not row.truncated:  # a refused one has no trained token
            rows.append((row.input_ids, row.labels))
            asked.append({**about, "question": pair[0], "answers": pair[1]})
    if not asked:
        return TokenRows.from_lists([]), {}, [say("note_probe_none", probe=probe.name)]
    facts = {"records": asked, "most": longest_answer(probe), "probe_id": probe.name}
    return TokenRows.from_lists(rows), facts, [say("note_probe", n=len(asked), probe=probe.name)]


class Known:
    """Asks the records of a run's `known_rows`, at each evaluation the same."""

    def __init__(self, place: Place, rows: TokenRows, facts: dict):
        self._place, self._rows, self._records, self._most = place.judging, rows, facts["records"], int(facts["most"])
        self._probe_id, self._told = facts["probe_id"], False

    def observed(self, loss_sum) -> Iterator[tuple[str, dict]]:
        """The event "asked" with the records, once a process; then "known" of the model as it is: groups [{class, trained, n,
        right, loss}], right: indices of the records with a right answer, wrong: [[index, what was answered]].

        loss_sum(rows, items) → the sum of −log p over the trained tokens of these items [].
        """
        if not self._told:
            self._told = True
            yield "asked", {"probe_id": self._probe_id, "records": [_brief(each) for each in self._records]}
        texts = self._answers()
        right = [is_right(text, each["answers"]) for text, each in zip(texts, self._records, strict=True)]
        groups = []
        for (name, trained), members in groupby(
            range(len(self._records)), key=lambda i: (self._records[i]["class"], self._records[i]["trained"])
        ):
            items = list(members)
            batches = self._place.batches(self._rows.lengths[items])
            total = sum(self._loss(loss_sum, [items[place] for place in batch]) for batch in batches)
            groups.append({
                "class": name, "trained": trained, "n": len(items), "right": sum(right[i] for i in items),
                "loss": round(total / max(1, self._rows.trained(items)), 6),
            })  # fmt: skip
        indices = [each["index"] for each in self._records]
        yield (
            "known",
            {
                "groups": groups,
                "right": [index for index, good in zip(indices, right, strict=True) if good],
                "wrong": [
                    [i, text.strip()[:_SHOWN]] for i, text, good in zip(indices, texts, right, strict=True) if not good
                ],
            },
        )

    def _loss(self, loss_sum, items: list[int]) -> float:
        with torch.no_grad(), self._place.autocast():
            return float(loss_sum(self._rows, items))

    def _answers(self) -> list[str]:
        limit = positions(self._place.model)
        most = self._most if limit is None else min(self._most, max(1, limit // 2))
        prompts = [self._prompt(row)[-(limit - most) if limit else 0 :] for row in range(len(self._rows))]
        order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
        texts = [""] * len(prompts)
        for start in range(0, len(order), ROWS):
            part = order[start : start + ROWS]
            answers = write_greedily(self._place, [prompts[row] for row in part], most)
            for row, answer in zip(part, answers, strict=True):
                texts[row] = str(self._place.tokenizer.decode(answer.token_ids, skip_special_tokens=True))
        return texts

    def _prompt(self, row: int) -> list[int]:
        """The ids before the answer's first."""
        ids, labels = self._rows.row(row)
        return ids[: int((labels != NOT_TRAINED).argmax())].tolist()


def known_of(objective: Objective) -> Known | None:
    """None where the run goes by no probe."""
    rows = objective.data.more.get("known")
    return Known(objective.place, rows, objective.data.facts["known"]) if rows is not None and len(rows) else None


def _brief(record: dict) -> dict:
    """What an event holds of a record."""
    expected = record["answers"][0].strip()[:_SHOWN]
    about = {key: record[key] for key in ("index", "class", "trained")}
    return {**about, "question": record["question"].strip()[:_SHOWN], "expected": expected}
