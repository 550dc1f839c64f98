"""Rows of token ids (input_ids, and labels and attention_mask where they have them), kept as they are.

Which tokenizer made them the person says: it turns them into texts to look at, its vocabulary is what they are checked against,
and a run with another one refuses them. Knows no model; a tokenizer of transformers is passed in.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, TypeGuard

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.data.encode import NOT_TRAINED, encode_documents
from llmdemo.data.library import DatasetInfo
from llmdemo.data.values import Bad

SHAPE = "token ids"
ROLES = {"ids": "input_ids", "labels": "labels", "mask": "attention_mask"}
BESIDE = frozenset(("token_type_ids", "position_ids", "special_tokens_mask", "overflow_to_sample_mapping", "split"))
"""Columns that tokenizers write beside ids, and that are not used."""
MOST_IDS = 1_000_000


class TokenizerNeeded(UserError):
    """The rows are token ids, and nobody has said of which tokenizer."""

    def __init__(self) -> None:
        super().__init__("err_ids_of_which")


@dataclass(frozen=True)
class MadeWith:
    """The tokenizer that made the ids, by the model it belongs to."""

    model_id: str
    tokenizer: Any

    @cached_property
    def about(self) -> dict:
        """What a data set's source keeps of it."""
        return {"model_id": self.model_id, "sha256": fingerprint(self.tokenizer)}

    def checked(self, record: dict) -> dict:
        """The record, with its ids known to be of the vocabulary. Raises Bad."""
        count = len(self.tokenizer)
        odd = [one for one in (*record["ids"], *(record.get("labels") or ())) if not NOT_TRAINED <= one < count]
        odd += [one for one in record["ids"] if one < 0] + [one for one in record.get("labels") or () if -100 < one < 0]
        if odd:
            raise Bad("wrong_shape", say("reason_token_unknown", token=odd[0], n=count, model=self.model_id))
        return record

    def texts(self, records: list[dict]) -> list[str]:
        """What each record says."""
        rows = [record["ids"] for record in records]
        return [text.replace("\0", "\ufffd") for text in self.tokenizer.batch_decode(rows, skip_special_tokens=False)]


def is_tokenised(rows: list[dict], columns: list[str], provenance: frozenset[str]) -> bool:
    """Whether the rows hold ids and nothing else to learn from."""
    if ROLES["ids"] not in columns or any(
        column not in (*ROLES.values(), *BESIDE) and column.strip().lower() not in provenance for column in columns
    ):
        return False
    return sum(isinstance(row.get(ROLES["ids"]), list) for row in rows) * 2 > len(rows)


def record_of(row: dict) -> dict:
    """{"text" "", "ids", "labels" where there are any}: without the places that attention_mask hides. Raises Bad."""
    ids, labels, mask = (row.get(column) for column in ROLES.values())
    if not _whole(ids):
        raise Bad("wrong_shape", say("reason_token_ids"))
    for name, beside in ((ROLES["labels"], labels), (ROLES["mask"], mask)):
        if beside is not None and (not _whole(beside) or len(beside) != len(ids)):
            raise Bad("wrong_shape", say("reason_token_beside", name=name, n=len(ids)))
    kept = range(len(ids)) if mask is None else [place for place, seen in enumerate(mask) if seen]
    if len(kept) < 2:
        raise Bad("wrong_shape", say("reason_token_few"))
    if len(kept) > MOST_IDS:
        raise Bad("too_long", say("reason_token_many", most=MOST_IDS))
    record = {"text": "", "ids": [ids[place] for place in kept]}
    if labels is not None:
        record["labels"] = [labels[place] for place in kept]
        if all(label == NOT_TRAINED for label in record["labels"][1:]):
            raise Bad("not_learned", say("reason_token_untrained"))
    return record


def _whole(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in value)


def fingerprint(tokenizer) -> str:
    """SHA-256 of the vocabulary: equal where each id stands for the same token."""
    told = "".join(
        f"{number}\0{token}\n" for token, number in sorted(tokenizer.get_vocab().items(), key=lambda e: e[1])
    )
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def check_same(info: DatasetInfo, tokenizer) -> None:
    """Raises UserError where the data set's ids are another tokenizer's."""
    made = info.source.get("tokenizer")
    if made and fingerprint(tokenizer) != made.get("sha256"):
        raise UserError("err_ids_other_tokenizer", name=info.name, model=str(made.get("model_id"))[:200])


def encoded(info: DatasetInfo, records: Iterator[dict], tokenizer) -> Iterator[tuple[list[int], list[int]]]:
    """(ids, labels) of each record of raw text: those that it brings, or its text's, all trained. Raises UserError."""
    check_same(info, tokenizer)
    for brings, group in groupby(records, key=lambda record: "ids" in record):
        if brings:
            yield from ((record["ids"], record.get("labels") or record["ids"]) for record in group)
        else:
            yield from ((ids, ids) for ids in encode_documents((record["text"] for record in group), tokenizer))


def shared(infos: list[DatasetInfo]) -> dict:
    """{"tokenizer"} of data sets that are joined; {} where none has ids. Raises UserError where they have different ones."""
    made = {
        str(info.source["tokenizer"].get("sha256")): info.source["tokenizer"]
        for info in infos
        if "tokenizer" in info.source
    }
    if len(made) > 1:
        raise UserError("err_ids_merge", models=[str(each.get("model_id")) for each in made.values()])
    return {"tokenizer": next(iter(made.values()))} if made else {}
