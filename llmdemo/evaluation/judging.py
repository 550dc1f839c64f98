"""All pairs of an evaluation before a judge of any kind; what scores two answers at once is asked here.

Verdicts are kept and used again. Knows how judges are reached and nothing of how pages show it. A judge that fails ends the judging, not the evaluation.
"""

import gc
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home
from llmdemo.evaluation.answers import chunks
from llmdemo.evaluation.folder import Kept, content_key
from llmdemo.evaluation.grade_records import about_judge, equal, grade_all, summed
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.judge import EQUAL, PROMPT_VERSION, JudgeFailed, Pair, pair_key, tally, verdict
from llmdemo.evaluation.judges import ready, title_of
from llmdemo.evaluation.reward_scores import RewardScorer
from llmdemo.models import catalog
from llmdemo.settings.judge import USUAL_LIMIT, JudgeSpec

_MOST_UNCLEAR = 5
"""So many answers in a row without a result, and the judge is given up."""
_REWARD_BATCH = 16


def judge_all(
    job: Job,
    home: Home,
    spec: JudgeSpec,
    records: list[dict],
    key: str = "",
    seed: int = 0,
    prompts: dict[int, list[dict]] | None = None,
) -> dict:
    """What the judge says of the records' answers; each judged record gets a "verdict", or "opinions". Raises Stopped.

    {"tally", "error", "criteria", "judge", "pairs", "of", "grading"} and, of a judge that grades, what grade_all or
    reward_all say. Equal answers are a tie. `error` is {"message", "hint"} or None; `pairs` of the `of` records that have
    their answers were to be judged. `prompts`: the turns before the answers by the records' indices, for a reward model.
    """
    every = [_pair(record) for record in records if not any(record["long"])]
    pairs = every[: spec.limit or USUAL_LIMIT]
    if spec.kind == "reward":
        found = reward_all(job, home, spec, records, pairs, prompts or {}, seed)
    elif spec.grading == "scores":
        found = _score_all(job, home, spec, records, pairs, key)
    else:
        found = grade_all(job, home, spec, records, pairs, key, seed)
    return {
        **found,
        "criteria": spec.criteria,
        "judge": title_of(home, spec),
        "pairs": len(pairs),
        "of": len(every),
        "grading": "reward" if spec.kind == "reward" else spec.grading,
        "form": spec.form,
        "reference": spec.reference,
    }


def _score_all(job: Job, home: Home, spec: JudgeSpec, records: list[dict], pairs: list[Pair], key: str) -> dict:
    """{"tally", "error"}: both answers of each pair scored at once, in both orders."""
    error, lines = None, {}
    try:
        kept = Kept(home, "verdicts", {"v": PROMPT_VERSION, **about_judge(home, spec)})
        lines = dict(kept.lines)
        _ask(job, home, spec, [pair for pair in pairs if not equal(pair)], kept, lines, key)
    except UserError as failed:  # the judge; what the models did stays
        error = {"message": failed.message, "hint": failed.hint}
    found = {}
    for pair in pairs:
        if equal(pair):
            found[pair.index] = EQUAL
        elif line := lines.get(pair_key(pair, spec.criteria)):
            found[pair.index] = verdict([tuple(scores) if scores else None for scores in line["orders"]])
    for record in records:
        record["verdict"] = found.get(record["index"])
    return {"tally": tally(list(found.values())), "error": error}


def _pair(record: dict) -> Pair:
    return Pair(record["index"], record["instruction"], record["reference"], tuple(record["answers"]))


def _ask(job: Job, home: Home, spec: JudgeSpec, pairs: list[Pair], kept: Kept, lines: dict, key: str) -> None:
    """Adds what the judge says of these pairs to `lines`, by their keys.

    An endpoint's answer without scores is not kept: asked again it may have some. A local model's are always the same.
    """
    missing = [pair for pair in pairs if pair_key(pair, spec.criteria) not in lines]
    done = len(pairs) - len(missing)
    job.tell(done, len(pairs))
    if not missing:
        return
    unclear = 0
    with ready(home, spec, key, job.should_stop) as judge:
        for some in chunks(missing, judge.pairs_at_once):
            job.check()
            orders = judge.orders(some)
            made = [
                {"id": pair_key(pair, spec.criteria), "orders": [scores and list(scores) for scores in both]}
                for pair, both in zip(some, orders, strict=True)
            ]
            kept.add([line for line in made if spec.kind == "model" or None not in line["orders"]])
            for line in made:
                unclear = unclear + 1 if None in line["orders"] else 0
            if spec.kind == "endpoint" and unclear >= _MOST_UNCLEAR:
                raise JudgeFailed(say("judge_unclear", n=unclear), say("judge_unclear_hint"))
            lines |= {line["id"]: line for line in made}
            done += len(some)
            job.tell(done, len(pairs), fresh=len(some))


def reward_all(
    job: Job, home: Home, spec: JudgeSpec, records: list[dict], pairs: list[Pair], prompts: dict, seed: int
) -> dict[str, Any]:
    """{tally, error, grades, difference, asked, long}: see grade_records.summed; a grade is the model's number, of any size.

    `prompts`: the turns before the answers, by the pairs' indices. Raises Stopped.
    """
    error, values = None, {}
    asked = {pair.index: [_reward_key(prompts[pair.index], text) for text in pair.answers] for pair in pairs}
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
            for part in chunks(missing, _REWARD_BATCH):
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


def _reward_key(turns: list[dict], answer: str) -> str:
    return content_key({"turns": [[turn["role"], turn["content"]] for turn in turns], "answer": answer})
