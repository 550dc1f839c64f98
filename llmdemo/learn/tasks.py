"""How the record of each task is encoded, and what is computed on it. Loads the models; knows nothing of runs and pages."""

import torch

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.data.encode import Encoded, encode_classify, encode_many, encode_preference, encode_text
from llmdemo.data.labels import merge_labels
from llmdemo.learn import numbers
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.load import load_causal, load_classifier, load_classifier_tokenizer, load_tokenizer
from llmdemo.settings.training import TrainConfig

_MOST_CLASSES = 12


class Task:
    """One task on the records of one data set."""

    def __init__(self, home: Home, records, settings: TrainConfig, most_tokens: int, shown: int):
        self._home, self._records, self._settings = home, records, settings
        self._most, self._shown = most_tokens, shown
        self._tokenizers: dict = {}

    def length(self, record: dict, entry: ModelEntry) -> int:
        """Tokens of the record; 0 where none would be trained."""
        try:
            rows = self.rows(record, self.tokenizer(entry))
        except UserError:
            return 0  # the model's chat template refuses it, as training would
        return max(len(row.input_ids) for row in rows) if rows and all(map(self.is_trained, rows)) else 0

    def is_trained(self, row: Encoded) -> bool:
        return row.trained > 0

    def tokenizer(self, entry: ModelEntry):
        if entry.id not in self._tokenizers:
            self._tokenizers[entry.id] = self.load_tokenizer(entry)
        return self._tokenizers[entry.id]

    def load_tokenizer(self, entry: ModelEntry):
        return load_tokenizer(entry)

    def rows(self, record: dict, tokenizer) -> list[Encoded]:
        raise NotImplementedError

    def text(self, record: dict) -> str:
        raise NotImplementedError

    def compute(
        self, record: dict, before: ModelEntry, after: ModelEntry | None, large: int
    ) -> tuple[dict, dict | None]:
        """The numbers with the model before, and with the one after where there is one. One model in memory at a time."""
        return self.one(record, before, large), self.one(record, after, large) if after else None

    def one(self, record: dict, entry: ModelEntry, large: int) -> dict:
        model, tokenizer = load_causal(entry, **how(entry, large))
        found = numbers.tokens(model, self.rows(record, tokenizer)[0], self._shown)
        for row in found["rows"]:
            row["text"] = _text(tokenizer, row["id"])
            row["best"] = _text(tokenizer, row.pop("best_id"))
        return found


class Chat(Task):
    def rows(self, record: dict, tokenizer) -> list[Encoded]:
        return [*encode_many([record], tokenizer, self._most, self._settings.loss_on)]

    def text(self, record: dict) -> str:
        last = max(n for n, turn in enumerate(record["messages"]) if turn["role"] == "assistant")
        return record["messages"][max(0, last - 1)]["content"][:400]


class Text(Task):
    def rows(self, record: dict, tokenizer) -> list[Encoded]:
        return encode_text(record["text"][: 8 * self._most], tokenizer, self._most)[:1]

    def text(self, record: dict) -> str:
        return record["text"][:400]


class Classify(Task):
    def load_tokenizer(self, entry: ModelEntry):
        return load_classifier_tokenizer(entry)

    def is_trained(self, row: Encoded) -> bool:
        return len(row.input_ids) > 0

    def rows(self, record: dict, tokenizer) -> list[Encoded]:
        return [encode_classify(record["text"], tokenizer, self._most)]

    def text(self, record: dict) -> str:
        return record["text"][:400]

    def compute(
        self, record: dict, before: ModelEntry, after: ModelEntry | None, large: int
    ) -> tuple[dict, dict | None]:
        return numbers.likeliest(*super().compute(record, before, after, large), _MOST_CLASSES)

    def one(self, record: dict, entry: ModelEntry, large: int) -> dict:
        merged = merge_labels(self._records.labels())
        torch.manual_seed(self._settings.seed)  # the head that a run would begin with
        model, tokenizer = load_classifier(entry, merged.names, device=how(entry, large)["device"])
        label = merged.names[merged.index[record["label"]]]
        return numbers.classes(model, self.rows(record, tokenizer)[0].input_ids, label)


class Pairs(Task):
    """Records with an answer that is preferred to another."""

    def rows(self, record: dict, tokenizer) -> list[Encoded]:
        return list(encode_preference(record, tokenizer, self._most))

    def text(self, record: dict) -> str:
        return record["messages"][-1]["content"][:400] if record["messages"] else ""


class Preference(Pairs):
    def compute(
        self, record: dict, before: ModelEntry, after: ModelEntry | None, large: int
    ) -> tuple[dict, dict | None]:
        reference, lengths = self._pair(record, before, large)
        first = self._told(record, reference, reference, lengths)
        if after is None:
            return first, None
        return first, self._told(record, self._pair(record, after, large)[0], reference, lengths)

    def _pair(self, record: dict, entry: ModelEntry, large: int) -> tuple[tuple[float, float], tuple[int, int]]:
        """(log-probabilities, trained tokens) of the chosen and the rejected answer."""
        model, tokenizer = load_causal(entry, **how(entry, large))
        chosen, rejected = self.rows(record, tokenizer)
        found = [numbers.answer_log_probability(model, row) for row in (chosen, rejected)]
        return (found[0], found[1]), (chosen.trained, rejected.trained)

    def _told(self, record: dict, policy: tuple, reference: tuple, lengths: tuple) -> dict:
        return numbers.preference(policy, reference, lengths, self._settings) | {"answers": answers_of(record)}


TASKS = {"chat": Chat, "text": Text, "classify": Classify, "preference": Preference}


def answers_of(pair: dict) -> dict:
    """What is shown of a pair's answers."""
    return {key: pair[key][:300] for key in ("chosen", "rejected")}


def how(entry: ModelEntry, large: int) -> dict:
    """A small model is computed on the CPU in fp32: exact, and out of the way of a run on the GPU."""
    return {"dtype": None, "device": None} if entry.parameters > large else {"dtype": torch.float32, "device": "cpu"}


def _text(tokenizer, number: int) -> str:
    from llmdemo.data.tokens import token_view

    return token_view(Encoded([number], [number]), tokenizer)[0]["text"]
