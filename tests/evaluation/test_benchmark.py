"""Standard benchmarks: equal to lm-eval on the same files, and what is no benchmark is a sentence.

The figures and log-likelihoods here are lm-eval 0.4.13's, from the files and the model of benchmark_samples.py: its tasks
hellaswag, arc_easy and gsm8k with dataset_path "json", num_fewshot 0, HFLM(batch_size=1, dtype="float32", device="cpu").
"""

import json
import os
from types import SimpleNamespace

import pytest

from llmdemo.core.errors import UserError
from llmdemo.data.rows import Batch
from llmdemo.evaluation import benchmark_files, run_lm_eval
from llmdemo.evaluation.benchmark import (
    choice_logprobs,
    cut,
    cut_to,
    encoded_pair,
    extracted,
    marks,
    matches,
    written,
)
from llmdemo.evaluation.benchmark_files import questions_of
from llmdemo.settings import Settings
from llmdemo.settings.evaluation import BenchmarkSpec
from tests.evaluation import benchmark_samples as samples
from tests.waiting import over

HELLASWAG = [[-334.27521, -137.00093, -412.94867, -214.45274], [-367.59866, -136.31226, -424.17575, -213.86913]]
ARC = [[-18.90142, -56.05694, -156.65982], [-21.38609, -57.85928, -157.11287], [-24.71464, -57.50555, -160.11261]]
WRITTEN = {1: "DTwK", 2: "eT1KR", 3: "u12e"}
"""How gsm8k's second to fourth answers begin, without what is no text in UTF-8 or no letter of ASCII."""
FILTERS = [  # answer, gold, strict-match's and flexible-extract's extract, whether each is right
    ("so 3 + 4 = 7\n#### 7", "7", "7", "7", True, True),
    ("It is $1,234.50.", "1,234.50", "[invalid]", "$1,234.50.", False, True),
    ("#### -2,000", "-2000", "-2,000", "-2,000", True, True),
    ("none", "0", "[invalid]", "[invalid]", False, False),
    ("The answer is 18.", "18", "[invalid]", "18.", False, True),
    ("####7 or 8", "8", "[invalid]", "8", False, True),
    ("first 5, then 6.\n#### 5", "6", "5", "5", False, False),
    ("12 apples and 3", "3", "[invalid]", "3", False, True),
    ("$5", "5", "[invalid]", "$5", False, True),
    ("#### 1,000,", "1000", "1,000,", "1,000,", True, True),
    ("a 7 b", "7", "[invalid]", "7", False, True),
]


@pytest.fixture(scope="module")
def model():
    return samples.model_and_tokenizer()


def asked(rows):
    return questions_of(enumerate(rows, 1))[1]


@pytest.mark.parametrize(
    ("rows", "want", "scores"),
    [(samples.HELLASWAG, HELLASWAG, (0.375, 0.375)), (samples.ARC, ARC, (0.625, 0.25))],
    ids=["hellaswag", "arc"],
)
def test_likelihoods_and_scores_are_lm_evals(model, rows, want, scores):
    questions = asked(rows)
    found = choice_logprobs(*model, questions)
    for got, right in zip(found, want, strict=False):
        assert got == pytest.approx(right, abs=2e-3)
    told = [marks(question, {"lls": lls}) for question, lls in zip(questions, found, strict=True)]
    assert tuple(sum(each[key] for each in told) / len(told) for key in ("acc", "acc_norm")) == scores


def test_what_is_written_is_lm_evals(model):
    texts = written(*model, asked(samples.GSM8K), lambda share: None)
    for place, begin in WRITTEN.items():
        letters = "".join(letter for letter in texts[place] if " " < letter <= "z")
        assert letters.startswith(begin), (place, letters[:20])


@pytest.mark.parametrize(("text", "gold", "strict", "flexible", "strictly", "flexibly"), FILTERS)
def test_numbers_are_found_and_compared_as_lm_evals_filters_do(text, gold, strict, flexible, strictly, flexibly):
    assert extracted(text) == (strict, flexible)
    answer = f"How it is found.\n#### {gold}"
    assert (matches(strict, answer), matches(flexible, answer)) == (strictly, flexibly)


def test_spaces_at_the_end_of_a_context_belong_to_what_follows(model):
    tokenizer = model[1]
    assert encoded_pair(tokenizer, "a b  ", "c") == encoded_pair(tokenizer, "a b", "  c")
    assert cut("12</s> 13") == "12" and cut("5\nQuestion: 6") == "5\n"


def test_both_forms_of_arc_are_the_same_question():
    (row, *_) = samples.ARC
    choices = [{"text": text, "label": label} for text, label in zip(*row["choices"].values(), strict=True)]
    original = {"question": {"stem": row["question"], "choices": choices}, "answerKey": row["answerKey"]}
    assert asked([original]) == asked([row])


ODD = [
    ([{"a": 1}], "keys are a"),
    ([3], "Row 1 is 3"),
    ([], "no question"),
    ([samples.ARC[0], {**samples.ARC[0], "answerKey": "Z"}], "Row 2 is no question as ARC"),
    ([{**samples.HELLASWAG[0], "label": ""}], "Row 1"),
    ([{**samples.HELLASWAG[0], "label": 4}], "Row 1"),
    ([{**samples.HELLASWAG[0], "endings": "abcd", "ctx_a": 3}], "Row 1"),
    ([samples.GSM8K[0], {"question": "a", "answer": "7"}], "Row 2 is no question as GSM8K"),
]


@pytest.mark.parametrize(("rows", "said"), ODD, ids=range(len(ODD)))
def test_what_is_no_benchmark_is_a_sentence(rows, said):
    with pytest.raises(UserError, match=said) as caught:
        asked(rows)
    assert caught.value.hint


def test_a_benchmark_is_evaluated_with_two_models_and_not_asked_twice(evaluations, models, tmp_path):
    samples.write(tmp_path)
    home = evaluations.jobs.home
    spec = benchmark_files.add_file(home, Settings(home=home.root), tmp_path / "arc.jsonl")
    assert (spec.shape, spec.count, spec.name) == ("arc", 8, "arc.jsonl")
    config = {"benchmark": vars(spec), "model_ids": list(models), "limit": 6}
    first = evaluations.start(config)
    assert over(evaluations, first)["state"] == "completed", over(evaluations, first)
    result, records = evaluations.result_with_records(first)
    assert result["kind"] == "benchmark" and len(records) == 6 and len(records[0]["said"]) == 2
    acc, normed = result["figures"]
    assert (acc["key"], normed["key"]) == ("acc", "acc_norm") and acc["difference"] and len(acc["intervals"]) == 2
    for side, (low, high) in enumerate(acc["intervals"]):
        assert acc["values"][side] == sum(record["acc"][side] for record in records) / 6
        assert low < acc["values"][side] < high or acc["values"][side] in (low, high)
    second = evaluations.start(config | {"limit": 8})
    assert over(evaluations, second)["state"] == "completed"
    for path in (home.root / "evaluations" / "kept").glob("benchmark-*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert sorted(line["id"] for line in lines) == list(range(8))


def test_questions_that_are_longer_than_a_models_context_lose_their_beginning_and_are_counted(
    evaluations, models, tmp_path
):
    filler = "word " * 300 + samples.ARC[0]["question"]
    long, other = ({**samples.ARC[0], "question": f"{first} {filler}"} for first in ("One", "Another"))
    rows = [long, samples.ARC[1], other]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    home = evaluations.jobs.home
    spec = benchmark_files.add_file(home, Settings(home=home.root), tmp_path / "long.jsonl")
    told = evaluations.start({"benchmark": vars(spec), "model_ids": list(models)})
    assert over(evaluations, told)["state"] == "completed", over(evaluations, told)
    notes = [note for note in evaluations.result(told)["notes"] if note["code"] == "cut_questions"]
    assert [(note["n"], note["of"], note["tokens"]) for note in notes] == [(2, 3, 256)] * 2
    (path, *_) = (home.root / "evaluations" / "kept").glob("benchmark-*.jsonl")
    lines = {line["id"]: line for line in map(json.loads, path.read_text().splitlines())}
    assert lines[0]["lls"] == pytest.approx(lines[2]["lls"], abs=1e-4), "their beginnings are not read"


def test_whether_a_question_is_cut_is_told_to_the_token(model):
    question = asked(samples.ARC)[0]
    tokenizer = model[1]
    longest = max(
        len(tokenizer.encode(f"{question.context} {choice}", add_special_tokens=False)) for choice in question.choices
    )
    for context, want in ((longest, 0), (longest - 1, longest - 1)):
        small = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=context))
        assert cut_to(small, tokenizer, [question]) == [want]
    written = asked(samples.GSM8K)[0]
    whole = len(tokenizer.encode(written.context, add_special_tokens=False))
    for context, want in ((whole + 256, 0), (whole + 255, whole - 1)):
        small = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=context))
        assert cut_to(small, tokenizer, [written]) == [want]


def test_questions_with_line_separators_and_halves_of_characters_come_back(home, tmp_path):
    rows = [{**samples.ARC[0], "question": text} for text in ("one\u2028two", "one\x85two", "half \ud800")]
    path = tmp_path / "odd.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = benchmark_files.read(home, benchmark_files.add_file(home, Settings(home=home.root), path))
    asked = [question.context.removeprefix("Question: ").removesuffix("\nAnswer:") for question in found]
    assert asked == ["one\u2028two", "one\x85two", "half ?"]


def test_the_questions_that_were_used_last_are_kept(home, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark_files, "MOST_KEPT", 2)
    specs = []
    for number in range(3):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps({**samples.ARC[0], "question": f"{number}?"}) + "\n")
        specs.append(benchmark_files.add_file(home, Settings(home=home.root), path))
        kept = home.root / "benchmarks" / f"{specs[-1].key}.jsonl"
        os.utime(kept, (number, number))
        if number == 1:
            benchmark_files.read(home, specs[0])
    assert [len(benchmark_files.read(home, specs[place])) for place in (0, 2)] == [1, 1]
    with pytest.raises(UserError, match="no longer here"):
        benchmark_files.read(home, specs[1])


def test_of_a_data_set_the_part_that_benchmarks_are_asked_from_is_read(home, monkeypatch):
    secret = [{**row, "label": ""} for row in samples.HELLASWAG]
    parts = {"train": samples.HELLASWAG, "test": secret, "validation": samples.HELLASWAG[:5]}
    asked = []

    def stream_rows(settings, hub_id, config, split, rows):
        asked.append((hub_id, config, split))
        if (split or "train") not in parts:
            raise UserError("err_hub_no_split", id=hub_id, split=split, names=list(parts))
        yield Batch(1, parts[split or "train"])

    monkeypatch.setattr(benchmark_files, "stream_rows", stream_rows)

    def read(split=""):
        spec = benchmark_files.add_source(home, Settings(home=home.root), "org/set:small", split)
        return spec.name, spec.count

    assert read() == ("set small · validation", 5), "test has no answers"
    assert asked == [("org/set", "small", "test"), ("org/set", "small", "validation")]
    assert read("train") == ("set small · train", 8)
    parts["test"] = samples.HELLASWAG[:3]
    assert read() == ("set small · test", 3)
    del parts["test"], parts["validation"]
    assert read() == ("set small", 8)
    with pytest.raises(UserError, match="no split"):
        read("moon")


def test_a_spec_comes_back_and_an_odd_one_is_refused(evaluations, models):
    with pytest.raises(UserError, match="The benchmark is"):
        evaluations.start({"benchmark": {"key": "../../x"}})
    with pytest.raises(UserError, match="key"):
        evaluations.start({"benchmark": {"key": "../../x", "name": "a", "shape": "arc", "count": 1}})
    with pytest.raises(UserError, match="no longer here") as caught:
        benchmark_files.read(evaluations.jobs.home, BenchmarkSpec("a" * 24, "arc.jsonl", "arc", 8))
    assert caught.value.hint


ASKED = [("Question: Which?\nAnswer:", " 3"), ("Question: Which?\nAnswer:", " a stone")]
SAMPLE = {
    "doc_id": 4,
    "target": "0",
    "arguments": ASKED,
    "resps": [[(-18.9, False)], [(-5.0, False)]],
    "filtered_resps": [(-18.9, False), (-5.0, False)],
    "filter": "none",
    "acc": 0.0,
    "acc_norm": 1.0,
}
"""As lm-eval 0.4.13 logs a question of arc_easy."""


def test_what_lm_eval_logs_becomes_records_of_the_same_form():
    records, keys = run_lm_eval.records_of([[SAMPLE], [{**SAMPLE, "acc": 1.0}]], "arc_easy")
    assert keys == ("acc", "acc_norm")
    (record,) = records
    assert record["acc"] == [False, True] and record["acc_norm"] == [True, True]
    assert (record["said"], record["reference"], record["prompt"]) == (["a stone"] * 2, "3", ASKED[0][0])
    written = {"doc_id": 0, "target": "#### 7", "arguments": [("Q", {})], "resps": [["It is 7"]], "exact_match": 1.0}
    both = [{**written, "filter": "strict-match"}, {**written, "filter": "flexible-extract", "exact_match": 0.0}]
    records, keys = run_lm_eval.records_of([both], "gsm8k")
    assert keys == ("strict", "flexible") and (records[0]["strict"], records[0]["flexible"]) == ([True], [False])
    assert records[0]["said"] == ["It is 7"]
    with pytest.raises(UserError, match="none of the figures"):
        run_lm_eval.records_of([[{**written, "bleu": 1.0, "filter": "none"}]], "translation")


def test_questions_of_a_group_of_tasks_are_not_mixed_up():
    """Each task of a group, as of mmlu, counts its questions from 0."""
    found = run_lm_eval.numbered({"b": [{**SAMPLE, "doc_id": 0, "acc": 1.0}], "a": [{**SAMPLE, "doc_id": 0}, SAMPLE]})
    records, _ = run_lm_eval.records_of([found], "group")
    assert [record["acc"] for record in records] == [[False], [False], [True]]


def test_a_task_of_a_package_that_is_not_here_is_a_sentence(monkeypatch):
    monkeypatch.setattr(run_lm_eval, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="not installed") as caught:
        run_lm_eval.task_spec("arc_easy")
    assert "pip install lm-eval" in caught.value.hint
