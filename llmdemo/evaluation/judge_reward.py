"""A reward model as the judge of an evaluation: the higher number wins. Knows nothing of how pages show it."""

import gc
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home
from llmdemo.evaluation.answers import chunks
from llmdemo.evaluation.folder import Kept, content_key
from llmdemo.evaluation.grade_records import about_judge, summed
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.judge import Pair
from llmdemo.evaluation.reward_scores import RewardScorer
from llmdemo.models import catalog
from llmdemo.settings.judge import JudgeSpec

_BATCH = 16


def reward_all(
    job: Job, home: Home, spec: JudgeSpec, records: list[dict], pairs: list[Pair], prompts: dict, seed: int
) -> dict[str, Any]:
    """{tally, error, grades, difference, asked, long}: see grade_records.summed; a grade is the model's number, of any size.

    `prompts`: the turns before the answers, by the pairs' indices. Raises Stopped.
    """
    error, values = None, {}
    asked = {pair.index: [_key(prompts[pair.index], text) for text in pair.answers] for pair in pairs}
    try:
        kept = Kept(home, "rewards", about_judge(home, spec))
        values = {key: line["reward"] for key, line in kept.lines.items()}
        every = {
            key: (prompts[pair.index], text)
            for pair in pairs
            for key, text in zip(asked[pair.index], pair.answers, strict=True)
        }
        missing = [key for key in every if key not in values]
        job.tell(len(every) - len(missing), len(every))
        if missing:
            scorer = RewardScorer(catalog.resolve(home, spec.model_id))
            for part in chunks(missing, _BATCH):
                found = scorer.scores([every[key][0] for key in part], [every[key][1] for key in part])
                values |= dict(zip(part, found, strict=True))
                kept.add([{"id": key, "reward": value} for key, value in zip(part, found, strict=True)])
                job.tell(sum(key in values for key in every), len(every), fresh=len(part))
            del scorer
            gc.collect()
    except UserError as failed:  # the judge; what the models did stays
        error = {"message": failed.message, "hint": failed.hint}
    opinions: dict[int, list[dict | None]] = {
        index: [{"result": values[key], "feedback": ""} if key in values else None for key in keys]
        for index, keys in asked.items()
    }
    every_one = [each for some in opinions.values() for each in some if each]
    return {
        "error": error,
        "asked": len(every_one),
        "long": sum(each["result"] is None for each in every_one),
        **summed(records, pairs, opinions, "absolute", seed),
    }


def _key(turns: list[dict], answer: str) -> str:
    return content_key({"turns": [[turn["role"], turn["content"]] for turn in turns], "answer": answer})
