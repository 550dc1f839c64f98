"""What a file's rows become: turns, answers, labels, what is not learned, and what is said to have no use."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import (
    ColumnsNeeded,
    add_dataset,
    apply_filters,
    edit_record,
    encode_chat,
    encode_many,
    merge_datasets,
    open_records,
    problems,
    shapes,
)
from llmdemo.data.encode import NOT_TRAINED
from llmdemo.data.library import get_dataset

ASK, SAY = "Which river runs through Lund?", "The Lura."


def chat(question=ASK, answer=SAY, system=None):
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


@pytest.fixture
def added(home, settings, write):
    """added(rows, name=…, **how) -> (info, its records, left-out ones too)."""

    def _added(rows, name="a.jsonl", **how):
        content = rows if isinstance(rows, str | bytes) else "\n".join(json.dumps(row) for row in rows)
        info = add_dataset(home, settings, write(name, content), "a", **how)
        return info, list(open_records(home, info.dataset_id, everything=True))

    return _added


# ---- what is not to be learned ----

MARKS = {
    "OpenAI": {"weight": 0},
    "axolotl": {"train": False},
    "training": {"training": "false"},
    "by turn": {"train_on_turn": 0},
    "ms-swift": {"loss": False},
    "axolotl in detail": {"train_detail": [{"begin_offset": 0, "end_offset": 16, "train": False}]},
}


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("loss_on", ["response", "all"])
def test_a_turn_marked_as_not_to_be_learned_is_read_but_not_trained(added, tokenizer, mark, loss_on):
    turns = [*chat(), {"role": "user", "content": "Please."}, {"role": "assistant", "content": "Yes."}]
    turns[1] |= MARKS[mark]
    _, records = added([{"messages": turns}])
    row = next(encode_many(records, tokenizer, 512, loss_on))
    plain = encode_chat([{"role": t["role"], "content": t["content"]} for t in turns], tokenizer, 512, loss_on)
    trained = tokenizer.decode([token for token in row.labels if token != NOT_TRAINED])
    assert row.input_ids == plain.input_ids
    assert SAY not in trained and "Yes." in trained
    assert (ASK in trained) == (loss_on == "all") and SAY in tokenizer.decode([t for t in plain.labels if t >= 0])
    assert len(row.spans) == 1


def test_the_last_answer_is_the_last_that_is_learned(added):
    turns = [*chat(), {"role": "user", "content": "More?"}, {"role": "assistant", "content": "No.", "weight": 0}]
    info, records = added([{"messages": turns}, {"messages": [*chat()[:1], turns[3]]}])
    assert [record["messages"] for record in records] == [chat()] and info.counts == {"cut_turns": 1, "not_learned": 1}


def test_a_mark_that_is_no_mark_and_a_part_that_is_not_learned_cost_the_row(added):
    rows = [{"messages": chat()}, {"messages": chat("B?")}, {"messages": chat("C?")}]
    rows[1]["messages"][1]["weight"] = 0.5
    rows[2]["messages"][1]["train_detail"] = [{"train": True, "end_offset": 3}, {"train": False, "end_offset": 9}]
    info, _ = added(rows)
    assert [(p["row"], p["code"]) for p in info.problems] == [(2, "wrong_shape"), (3, "partly_learned")]
    assert "weight '0.5'" in info.problems[0]["message"]


@pytest.mark.parametrize("label", ["label", "kto_tag"])
@pytest.mark.parametrize("values", [(False, True), ("False", "True")])
def test_undesired_answers_are_left_out_and_named(added, home, label, values):
    rows = [{"prompt": f"{ASK} {n}", "completion": f"{SAY} {n}", label: values[n % 2]} for n in range(6)]
    info, records = added(rows)
    assert info.task == "chat" and info.counts == {"undesired": 3}
    assert [record["row"] for record in open_records(home, info.dataset_id)] == [2, 4, 6]
    both = open_records(home, info.dataset_id, despite=("undesired",))
    assert both.flagged("undesired").tolist() == [n % 2 == 0 for n in range(6)] and len(records) == 6
    rows = [{"conversations": chat(f"{ASK} {n}"), "kto_tag": bool(n % 2)} for n in range(4)]
    assert added(rows)[0].counts == {"undesired": 2}


def test_a_label_of_0_and_1_beside_an_answer_is_asked_about(added):
    rows = [{"prompt": f"{ASK} {n}", "completion": SAY, "label": n % 2} for n in range(6)]
    with pytest.raises(ColumnsNeeded, match="desired") as caught:
        added(rows)
    assert caught.value.guess == {"prompt": "prompt", "response": "completion", "desired": "label"}
    assert added(rows, columns=caught.value.guess)[0].counts == {"undesired": 3}
    info, _ = added(rows, columns={"prompt": "prompt", "response": "completion"})
    assert info.kept == 6 and info.unused == ["label"]


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": "a", "response": "a"},
        {"prompt": "a", "input": "b", "response": "b"},
        {"prompt": "a", "chosen": "b", "rejected": "b"},
        {"prompt": "a", "chosen": "a", "rejected": "b"},
        {"text": "a", "label": "a"},
        {"messages": "c", "system": "c"},
        {"prompt": "a", "response": "b", "desired": "b"},
    ],
)
def test_a_column_given_for_two_roles_is_refused_by_name(home, added, columns):
    """The instruction as its own answer would teach a model to repeat, and a text as its label to read nothing."""
    rows = [{"a": f"{ASK} {n}", "b": f"{SAY} {n}", "c": chat(f"{ASK} {n}")} for n in range(8)]
    first, second = [role for role, column in columns.items() if list(columns.values()).count(column) > 1]
    with pytest.raises(UserError, match=f"'{columns[first]}' is given as {first} and as {second}. .*another one"):
        added(rows, columns=columns)
    assert list(home.datasets.iterdir()) == []


def test_a_column_may_also_tell_the_kind_and_the_split_of_its_record(added):
    rows = [{"a": f"{ASK} {n}", "b": SAY, "c": "train" if n % 4 else "test"} for n in range(8)]
    info, _ = added(rows, columns={"prompt": "a", "response": "b", "system": "c", "kind": "c", "split": "c"})
    assert info.kept == 8


def test_what_is_not_learned_stays_so_when_a_record_is_edited_or_merged(home, settings, added):
    turns = [*chat(), {"role": "user", "content": "Please."}, {"role": "assistant", "content": "Yes."}]
    turns[1] |= {"weight": 0}
    info, records = added([{"messages": turns, "tools": TOOLS}])
    edited = edit_record(
        home,
        info.dataset_id,
        0,
        {**records[0], "messages": [*records[0]["messages"][:3], {**turns[3], "content": "No."}]},
    )
    record = open_records(home, edited.dataset_id)[0]
    assert record["untrained"] == [1] and record["messages"][3]["content"] == "No." and "river_of" in record["tools"]
    merged = merge_datasets(home, settings, [info.dataset_id, edited.dataset_id], "both")
    assert [each["untrained"] for each in open_records(home, merged.dataset_id)] == [[1], [1]]


# ---- what is no string ----

TURNS = {
    "TRL's prompt and completion": {"prompt": chat(system="Be short.")[:2], "completion": chat()[1:]},
    "a whole conversation as completion": {"prompt": chat(system="Be short.")[:2], "completion": chat(system="Be short.")},
    "a JSON string": {"messages": json.dumps(chat(system="Be short."))},
    "as Python writes it": {"messages": str(chat(system="Be short."))},
    "by key": {"messages": {"role": ["system", "user", "assistant"], "content": ["Be short.", ASK, SAY]}},
    "parts": {"messages": [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in chat(system="Be short.")]},
    "a list of texts as content": {"messages": [{**t, "content": [t["content"][:3], t["content"][3:]]} for t in chat(system="Be short.")]},
    "strings of turns": {"prompt": json.dumps(chat(system="Be short.")[:2]), "completion": json.dumps(chat()[1:])},
}  # fmt: skip


@pytest.mark.parametrize("name", TURNS)
def test_turns_are_turns_however_they_are_written(added, name):
    info, records = added([TURNS[name]] * 2)
    assert info.task == "chat" and records[0]["messages"] == chat(system="Be short.")


def test_conversations_in_a_preference_that_are_strings_are_turns(added):
    row = {
        "prompt": json.dumps(chat()[:1]),
        "chosen": json.dumps(chat()[1:]),
        "rejected": json.dumps(chat(answer="No.")[1:]),
    }
    _, records = added([row])
    assert records == [{"row": 1, "messages": chat()[:1], "chosen": SAY, "rejected": "No."}]


def test_openais_preferences_are_preferences(added):
    sides = {"preferred_output": chat()[1:], "non_preferred_output": chat(answer="No.")[1:]}
    info, records = added([{"input": {"messages": chat(system="Be short.")[:2]}, **sides}] * 2)
    assert info.task == "preference" and info.kept == 1
    assert records[0] == {"row": 1, "messages": chat(system="Be short.")[:2], "chosen": SAY, "rejected": "No."}


def test_a_picture_costs_the_record_and_is_named(added):
    parts = [{"type": "image_url", "image_url": {"url": "x.png"}}, {"type": "text", "text": "Which town?"}]
    info, _ = added([{"messages": chat()}, {"messages": [{"role": "user", "content": parts}, *chat()[1:]]}])
    assert info.kept == 1 and "image_url" in info.problems[0]["message"] and info.problems[0]["row"] == 2


@pytest.mark.parametrize("answers", [[SAY, "No idea."], {"text": [SAY, "No idea."], "answer_start": [0, 4]}])
def test_of_several_answers_the_first_is_learned_and_the_others_are_kept(added, answers):
    info, records = added([{"question": ASK, "answers": answers}, {"question": "Why?", "answers": [SAY, SAY]}])
    assert records[0]["messages"] == chat() and info.kept == 2
    assert records[0]["alternatives"] == ["No idea."] and "alternatives" not in records[1]
    assert [(p["row"], p["code"], p["action"]) for p in info.problems] == [(1, "alternatives", "kept")]


OTHERS = {
    "an Alpaca output": {"instruction": ASK, "output": [SAY, "Lura", "", SAY, "the Lura"]},
    "SQuAD inside a string": {"question": ASK, "answers": json.dumps({"text": [SAY, "Lura", "the Lura"], "answer_start": [1, 1, 1]})},
    "TriviaQA": {"question": ASK, "answer": {"value": SAY, "aliases": ["Lura", "the Lura"], "type": "WikipediaEntity"}},
    "SQuAD as pandas writes it": {"question": ASK, "answers": f"{{'text': array(['{SAY}', 'Lura', 'the Lura'], dtype=object), 'answer_start': array([1, 2, 3], dtype=int32)}}"},
    "SQuAD's own answers": {"question": ASK, "answers": [{"text": text, "answer_start": 1} for text in (SAY, "Lura", "the Lura")]},
    "a column of its own": {"question": ASK, "answer": SAY, "answer_aliases": ["Lura", "the Lura", SAY]},
    "a column in a string": {"question": ASK, "answer": SAY, "other_answers": '["Lura", "the Lura"]'},
    "instances": {"instruction": ASK, "instances": [{"input": "", "output": [SAY, "Lura", "the Lura"]}]},
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_right_answers_are_kept_however_they_are_written(added, name):
    info, records = added([OTHERS[name]] * 2)
    assert records[0]["messages"] == chat() and records[0]["alternatives"] == ["Lura", "the Lura"]
    assert info.unused == [] and info.counts["alternatives"] == 2


def test_the_articles_of_a_squad_file_are_a_record_a_question(added):
    qas = [
        {
            "id": "a",
            "question": ASK,
            "answers": [{"text": SAY, "answer_start": 0}, {"text": "Lura", "answer_start": 4}],
        },
        {"id": "b", "question": "Why?", "answers": [], "is_impossible": True},
    ]
    articles = [{"title": "Lund", "paragraphs": [{"context": "By the Lura.", "qas": qas}]}]
    info, records = added(json.dumps({"version": "v2.0", "data": articles}), name="a.json")
    assert records[0]["messages"] == chat(f"{ASK}\n\nBy the Lura.") and records[0]["alternatives"] == ["Lura"]
    assert (info.rows, info.kept, info.counts["empty_response"]) == (2, 1, 1)


def test_turns_as_pandas_writes_an_array_of_them_are_turns(added):
    cell = "[{'role': 'user', 'content': '" + ASK + "'}\n {'role': 'assistant', 'content': '" + SAY + "'}]"
    _, records = added([{"messages": cell}] * 2)
    assert records[0]["messages"] == chat()


def test_other_answers_of_a_column_that_are_no_texts_cost_the_record(added):
    info, _ = added(
        [{"question": ASK, "answer": SAY}, {"question": "Why?", "answer": SAY, "other_answers": [{"a": 1}]}]
    )
    assert info.kept == 1 and info.problems[0]["row"] == 2 and "not texts" in info.problems[0]["message"]


def test_an_edit_keeps_other_answers_and_the_kind(home, added):
    rows = [{"question": f"{ASK} {n}", "answer": [SAY, "Lura"], "source": f"book {n % 2}"} for n in range(8)]
    info, records = added(rows)
    changed = {**records[0], "messages": [records[0]["messages"][0], {"role": "assistant", "content": "Lura"}]}
    edited = open_records(home, edit_record(home, info.dataset_id, 0, changed).dataset_id)[0]
    assert edited["kind"] == "book 0" and "alternatives" not in edited  # the only other answer is now the first
    changed["messages"][1]["content"] = "A river."
    assert open_records(home, edit_record(home, info.dataset_id, 0, changed).dataset_id)[0]["alternatives"] == ["Lura"]


# ---- kinds ----

KINDS = {
    "source": [f"book {n % 3}" for n in range(24)],
    "category": ["open", "closed", "open"] * 8,
    "類別": ["歌", "詩"] * 12,
    "Task_Type": [n % 2 for n in range(24)],
    "dataset": ["a"] * 6 + [None] * 18,
}


@pytest.mark.parametrize("column", KINDS)
def test_a_column_that_tells_kinds_is_kept_as_the_records_kind(added, column):
    rows = [{"question": f"{ASK} {n}", "answer": SAY, column: kind} for n, kind in enumerate(KINDS[column])]
    info, records = added(rows)
    assert info.roles["kind"] == column and info.unused == []
    assert [each.get("kind") for each in records] == [None if kind is None else str(kind) for kind in KINDS[column]]


@pytest.mark.parametrize(
    "of", [lambda n: f"page {n}", lambda n: "one", lambda n: {"x": n % 2}, lambda n: "long " * 30 + str(n % 2)]
)
def test_a_column_that_tells_no_kinds_is_not_used(added, of):
    info, records = added([{"question": f"{ASK} {n}", "answer": SAY, "source": of(n)} for n in range(24)])
    assert "kind" not in info.roles and info.unused == ["source"] and "kind" not in records[0]


def test_data_that_is_sorted_by_its_source_tells_its_kinds_too(added):
    rows = [{"text": f"A line with the number {n} in it.", "source": "ab"[n >= 1100]} for n in range(1200)]
    info, records = added(rows)
    assert info.task == "text" and info.roles["kind"] == "source"
    assert [each["kind"] for each in records[1098:1102]] == ["a", "a", "b", "b"]


def test_too_many_kinds_have_no_use_and_that_is_said(added, home):
    rows = [{"question": f"{ASK} {n}", "answer": SAY, "source": f"book {n // 20}"} for n in range(1200)]
    info, _ = added(rows)
    assert info.unused == ["source"] and open_records(home, info.dataset_id).kinds()[1] == []


def test_an_empty_list_of_answers_is_no_answer(added):
    info, _ = added(
        [{"question": ASK, "answers": SAY}, {"question": "Why?", "answers": {"text": [], "answer_start": []}}]
    )
    assert info.counts == {"empty_response": 1}


@pytest.mark.parametrize("column", ["instruction", "input", "output", "system"])
@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], [{"x": "y"}], {"n": 2**80}])
def test_any_other_list_or_object_is_a_problem_that_can_be_switched_off(home, added, column, value):
    row = {"instruction": ASK, "input": "Here.", "output": SAY, "system": "Be short."}
    info, records = added([{**row, "instruction": "Why?"}, {**row, column: value}])
    assert info.kept == 1
    assert [(p["row"], p["code"], p["action"]) for p in info.problems] == [(2, "not_text", "left out")]
    whole = apply_filters(home, info.dataset_id, [name for name in info.filters if name != "not_text"])
    texts = [turn["content"] for turn in open_records(home, whole.dataset_id)[1]["messages"]]
    assert any(json.dumps(value, separators=(",", ":")) in text for text in texts)


@pytest.mark.parametrize("task", ["text", "classify", "preference"])
def test_an_object_for_a_text_is_a_problem_in_every_task(added, task):
    rows = {
        "text": [{"text": "plain"}, {"text": {"a": 1}}],
        "classify": [{"text": f"plain {n}", "label": n % 2} for n in range(4)] + [{"text": {"a": 1}, "label": 1}],
        "preference": [
            {"prompt": "a", "chosen": "b", "rejected": "c"},
            {"prompt": "d", "chosen": {"a": 1}, "rejected": "c"},
        ],
    }[task]
    info, _ = added(rows)
    assert info.task == task and info.counts == {"not_text": 1} and info.problems[0]["row"] == len(rows)


@pytest.mark.slow
def test_numbers_truth_values_and_times_are_their_text(home, settings, tmp_path):
    import datetime
    import decimal

    values = [3, 2.5, True, datetime.date(2026, 11, 28), datetime.datetime(2026, 11, 28, 7, 5), decimal.Decimal("1.10")]
    for value, text in zip(values, ["3", "2.5", "true", "2026-11-28", "2026-11-28T07:05:00", "1.10"], strict=True):
        pq.write_table(pa.Table.from_pylist([{"prompt": ASK, "completion": value}]), tmp_path / "a.parquet")
        info = add_dataset(home, settings, tmp_path / "a.parquet", "a")
        assert open_records(home, info.dataset_id)[0]["messages"][1]["content"] == text


def test_labels_that_are_equal_as_numbers_are_one(added):
    info, _ = added([{"text": f"text {n}", "label": [0, 0.0, 1, 1.0, "1"][n % 5]} for n in range(20)])
    assert info.labels == ["0", "1"]


def test_a_history_that_is_a_string_is_read(added):
    rows = [
        {"instruction": ASK, "output": SAY, "history": '[["Hi?", "Hello."]]'},
        {"instruction": ASK, "output": SAY, "history": "x"},
    ]
    info, records = added(rows)
    assert records[0]["messages"] == [*chat("Hi?", "Hello."), *chat()] and info.counts == {"wrong_roles": 1}


ROWS = [{"instruction": f"{ASK} {n}", "output": f"{SAY} {n}"} for n in range(8)]
BY_COLUMN = {
    "lists": {key: [row[key] for row in ROWS] for key in ROWS[0]},
    "pandas": {key: {str(n): row[key] for n, row in enumerate(ROWS)} for key in ROWS[0]},
    "pandas, by index": {str(n): row for n, row in enumerate(ROWS)},
    "by id": {f"q{n}": row for n, row in enumerate(ROWS)},
    "pandas, split": {"columns": list(ROWS[0]), "index": list(range(8)), "data": [list(row.values()) for row in ROWS]},
    "pandas, table": {"schema": {"fields": [{"name": "index"}]}, "data": [{"index": n, **row} for n, row in enumerate(ROWS)]},
}  # fmt: skip


@pytest.mark.parametrize("name", BY_COLUMN)
def test_json_by_column_or_by_index_is_its_rows(added, name):
    info, records = added(json.dumps(BY_COLUMN[name]), "a.json")
    assert info.rows == 8
    assert [record["messages"] for record in records] == [chat(*row.values()) for row in ROWS]


def test_a_single_record_stays_one(added):
    assert added(json.dumps({"messages": chat()}), "a.json")[0].rows == 1
    assert added(json.dumps({"prompt": ASK, "completion": SAY}), "a.json")[0].rows == 1


# ---- columns and keys without a use ----

TOOLS = [{"type": "function", "function": {"name": "river_of", "parameters": {"type": "object"}}}]
TAKES = (
    "{% if tools %}{{ tools[0]['function']['name'] }}|{% endif %}{% for m in messages %}{{ m['role'] + ':' }}"
    "{% if m.reasoning_content %}{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}{{ m['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


def test_what_has_no_use_is_named(home, added):
    turns = [{**turn, "name": "Ann"} for turn in chat()]
    info, _ = added([{"messages": turns, "images": ["x.png"], "id": 3, "empty": None, "none": []}])
    assert info.unused == ["images", "id", "name"] == get_dataset(home, info.dataset_id).unused
    assert added([{"text": f"t {n}", "label": n % 2, "url": "x"} for n in range(4)])[0].unused == ["url"]


def test_tools_and_reasoning_go_into_a_template_that_takes_them_and_are_named_elsewhere(added, tokenizer):
    import copy

    taking = copy.deepcopy(tokenizer)
    taking.chat_template = TAKES
    turns = [chat()[0], {**chat()[1], "reasoning_content": "Lund is in Sweden."}]
    rows = [
        {"messages": turns, "tools": TOOLS},
        {"messages": chat("Why?"), "tools": json.dumps([TOOLS[0]["function"]])},
    ]
    rows += [{"messages": chat("Who?")}]
    info, records = added(rows, tokenizer=taking)
    assert info.unused == []
    texts = [taking.decode(row.input_ids) for row in encode_many(records, taking, 512)]
    assert texts[0] == f"river_of|user:{ASK}<|im_end|>assistant:<think>Lund is in Sweden.</think>{SAY}<|im_end|>"
    assert texts[1] == f"river_of|user:Why?<|im_end|>assistant:{SAY}<|im_end|>"
    assert texts[2] == f"user:Who?<|im_end|>assistant:{SAY}<|im_end|>"
    assert added(rows, tokenizer=tokenizer)[0].unused == ["tools", "reasoning_content"]


def test_reasoning_as_a_part_of_content_is_reasoning(added):
    content = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": SAY}]
    _, records = added([{"messages": [chat()[0], {"role": "assistant", "content": content}]}])
    assert records[0]["messages"] == chat() and records[0]["reasoning"] == [None, "Hm."]


# ---- which column is which ----


def test_several_labels_for_a_text_are_named(added):
    with pytest.raises(ColumnsNeeded, match="'joy', 'fear'.*multi-hot") as caught:
        added("text,joy,fear\n" + "".join(f"I like it {n},{n % 2},{n // 2 % 2}\n" for n in range(12)), "a.csv")
    assert caught.value.guess == {"text": "text", "label": "joy"} and caught.value.task == "classify"


def test_a_text_beside_other_columns_is_asked_about_unless_they_tell_where_it_comes_from(added):
    with pytest.raises(ColumnsNeeded) as caught:
        added([{"text": f"text {n}", "summary": f"a summary {n}", "notes": f"some {n}"} for n in range(9)])
    assert caught.value.guess == {"text": "text"} and caught.value.task == "text"
    info, _ = added(
        [{"text": f"text {n}", "url": "http://x", "source": "web", "id": n, "licence": "MIT"} for n in range(9)]
    )
    assert info.task == "text" and info.unused == ["url", "source", "id", "licence"]


def test_where_a_record_comes_from_is_no_question(added):
    with pytest.raises(UserError) as caught:
        added([{"source": "wikipedia", "answer": f"a long answer {n}", "author": "Ann"} for n in range(9)])
    assert "source" not in getattr(caught.value, "guess", {}).values()
    rows = [
        {"source": "web", "id": n, "url": "x", "what they asked": f"Q {n}?", "their words": f"words {n}"}
        for n in range(9)
    ]
    with pytest.raises(ColumnsNeeded) as caught:
        added(rows)
    assert caught.value.guess == {"prompt": "what they asked", "response": "their words"}
    info, _ = added([{"source": f"Haus {n}", "target": f"house {n}"} for n in range(9)])
    assert info.roles == {"prompt": "source", "response": "target"}


@pytest.mark.parametrize(
    ("columns", "guess"),
    [
        (("Model answer", "Customer question"), {"prompt": "Customer question", "response": "Model answer"}),
        (("客服答覆", "客戶提問"), {"prompt": "客戶提問", "response": "客服答覆"}),
    ],
)
def test_names_that_say_question_or_answer_are_guessed_to_be_that(added, columns, guess):
    with pytest.raises(ColumnsNeeded) as caught:
        added([{columns[0]: f"short {n}", columns[1]: f"a much longer text than the other {n}"} for n in range(9)])
    assert caught.value.guess == guess


@pytest.mark.parametrize(
    ("columns", "task"),
    [
        (("問題", "回答"), "chat"),
        (("指令", "輸入", "輸出"), "chat"),
        (("问题", "答案"), "chat"),
        (("文字", "標籤"), "classify"),
    ],
)
def test_chinese_names_are_known(added, columns, task):
    info, _ = added([{column: f"{column} {n % 2}" for column in columns} for n in range(8)])
    assert info.task == task and set(info.roles.values()) == set(columns)


# ---- tables and encodings ----

TABLES = {
    "pandas' index": ",instruction,output\n0,{0}\n1,{1}\n",
    "R's write.csv": '"","instruction","output"\n"1",{0}\n"2",{1}\n',
    "R's write.table": "instruction;output\n1;{0}\n2;{1}\n",
    "sep=": "sep=;\ninstruction;output\n{0}\n{1}\n",
    "sep= after a mark": "\ufeffsep=;\r\ninstruction;output\r\n{0}\r\n{1}\r\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_with_an_index_or_a_first_line_of_its_own_is_read(added, name):
    between = ";" if ";" in TABLES[name] else ","
    cells = [between.join(f'"{cell}"' for cell in row) for row in ((ASK, "a, b"), ("Why?", "c"))]
    info, records = added(TABLES[name].format(*cells), "a.csv")
    assert [record["messages"] for record in records] == [chat(answer="a, b"), chat("Why?", "c")]
    assert info.rows == 2


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp950", "問題,回答\r\n台北是哪個國家的首都？,中華民國（臺灣）的首都是台北。\r\n"),
        ("big5hkscs", "問題,回答\r\n你食咗飯未呀？,我啱啱食咗飯喇。\r\n佢哋喺邊度？,佢哋喺屋企。\r\n"),
        ("gb18030", "问题,回答\r\n请用一句话介绍长城。,长城是中国古代的伟大建筑，全长两万多公里。\r\n"),
    ],
)
@pytest.mark.slow
def test_what_a_spreadsheet_of_east_asia_writes_is_read(home, added, encoding, text):
    rows = [line.split(",") for line in text.split("\r\n")[1:-1]]
    for many in (1, 3000):
        head, *lines = text.splitlines(keepends=True)
        info, records = added((head + "".join(lines) * many).encode(encoding), "a.csv")
        assert records[0]["messages"] == chat(*rows[0]) and info.rows == len(rows) * many
        assert "Big5" in info.format or "GB18030" in info.format
    late = "question,answer\r\n" + "What is it?,An answer in ASCII.\r\n" * 4000 + lines[0]
    assert added(late.encode(encoding), "a.csv")[1][-1]["messages"] == chat(*rows[0])


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [
        ("cp950", ["台灣的首都是哪裡?,台北", "翻譯成英文,你好", "什麼是機器學習?,機器學習是人工智慧的一個分支"]),
        ("gb18030", ["中国的首都是哪里?,北京", "翻译成英文,你好", "谢谢,不客气"]),
        (
            "cp932",
            ["日本の首都はどこですか,東京です", "春についての詩を書いて,春風が吹く", "ありがとう,どういたしまして"],
        ),
        ("cp949", ["한국의 수도는 어디입니까,서울입니다", "감사합니다,천만에요", "날씨가 어때요,맑습니다"]),
    ],
)
def test_one_line_of_an_east_asian_encoding_is_read_as_that_one(added, encoding, lines):
    for line in lines:
        _, records = added(f"question,answer\r\n{line}\r\n".encode(encoding), "a.csv")
        assert records[0]["messages"] == chat(*line.split(","))


@pytest.mark.parametrize(
    "line",
    [
        "What is a r\u00e9sum\u00e9?,A summary.",
        "Where is M\u00fcnchen?,In Bavaria.",
        "Say it,I don\u2019t know \u201chim\u201d.",
        "\u00bfC\u00f3mo est\u00e1s ma\u00f1ana?,Muy bien",
    ],
)
def test_a_few_letters_with_accents_or_curly_quotes_are_no_text_of_east_asia(added, line):
    for many in (0, 300):
        text = "question,answer\r\n" + "What is it?,An answer.\r\n" * many + line + "\r\n"
        with pytest.raises(UserError, match="UTF-8"):
            added(text.encode("cp1252"), "a.csv")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_in_plain_text_are_refused_and_not_read_as_east_asian(added, seed):
    data = bytearray(b"question,answer\r\n" + b"Name a city in the north.,The oldest one is on a hill.\r\n" * 30)
    chance = random.Random(seed)
    for _ in range(1 + seed % 4):
        data[chance.randrange(20, len(data) - 2)] = chance.randrange(128, 256)
    with pytest.raises(UserError):
        added(bytes(data), "a.csv")


@pytest.mark.slow
def test_the_classes_of_a_parquet_file_have_their_names(home, settings, tmp_path):
    features = {
        "label": {"names": ["ham", "spam"], "_type": "ClassLabel"},
        "text": {"dtype": "string", "_type": "Value"},
    }
    table = pa.table({"text": [f"text {n}" for n in range(6)], "label": [0, 1, 0, 1, 1, -1]})
    about = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / "a.parquet")
    info = add_dataset(home, settings, tmp_path / "a.parquet", "a")
    assert info.labels == ["ham", "spam"] and info.counts == {"empty_response": 1}
    names = pa.array(["ham", "spam"] * 3).dictionary_encode()
    pq.write_table(pa.table({"text": [f"text {n}" for n in range(6)], "label": names}), tmp_path / "b.parquet")
    assert add_dataset(home, settings, tmp_path / "b.parquet", "b").labels == ["ham", "spam"]
    for wrong in ("{", "[]", '{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1]}}}}'):
        pq.write_table(table.replace_schema_metadata({"huggingface": wrong}), tmp_path / "c.parquet")
        assert add_dataset(home, settings, tmp_path / "c.parquet", "c").labels[-1] == "1"


def test_every_problem_of_a_kind_can_be_listed(home, added):
    info, _ = added([{"prompt": f"{ASK} {n}", "completion": {"n": n} if n % 2 else SAY} for n in range(600)])
    found, total = problems(home, info.dataset_id, 100, 3, "not_text")
    assert total == 300 and [each["row"] for each in found] == [202, 204, 206]


def test_rows_that_hold_nothing_but_their_split_are_no_records():
    with pytest.raises(UserError, match="have no fields"):
        shapes.detect([{"split": None}])
