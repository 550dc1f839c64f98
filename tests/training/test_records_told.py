"""What a run says of its records: which are left out and why, which are held out, and what its card counts."""

import json

import numpy as np
import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.data import open_records, split
from llmdemo.data.ingest import add_dataset
from llmdemo.training import worker
from llmdemo.training.prepare import prepare_data, read_config

GEMMA = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SYSTEM = {"role": "system", "content": "Be brief."}


def sums(count):
    return [
        {"messages": [{"role": "user", "content": f"Add {n} and {n * n}."}, {"role": "assistant", "content": f"{n}"}]}
        for n in range(count)
    ]


@pytest.fixture
def run_of(home, settings, tmp_path, tiny_model_folder, make_run):
    """run_of(rows, template) → (run folder on these rows, its tokenizer)."""
    from transformers import AutoTokenizer

    def make(rows, template=None, **changes):
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        info = add_dataset(home, settings, tmp_path / "rows.json", "rows")
        tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
        tokenizer.chat_template = template or tokenizer.chat_template
        return make_run(dataset_id=info.dataset_id, **changes), tokenizer

    return make


def prepared(home, run, tokenizer):
    return prepare_data(run, home, read_config(run), tokenizer)


def test_a_record_that_the_template_refuses_costs_itself_and_names_its_row(home, run_of):
    rows = sums(40)
    rows[16]["messages"].insert(0, SYSTEM)
    data = prepared(home, *run_of(rows, GEMMA))
    assert len(data.train) + len(data.held_out) == 39
    assert data.facts["left_out"] == {"refused": 1}
    assert "1 record left out (row 17)" in data.facts["notes"][0] and "System role" in data.facts["notes"][0]


def test_where_all_are_refused_the_run_says_so_before_it_loads_the_model(home, run_of):
    rows = sums(12)
    for row in rows:
        row["messages"].insert(0, SYSTEM)
    with pytest.raises(UserError, match="refuses all .* System role not supported"):
        prepared(home, *run_of(rows, GEMMA))


def test_records_dropped_by_length_are_counted_in_events_status_and_card(home, settings, run_of, tiny_model_folder):
    rows = sums(30)
    for n in range(15):
        rows[n]["messages"][0]["content"] = f"word{n} " * 60
    run, _ = run_of(rows, max_length=48, max_steps=1, eval_steps=0)
    assert worker.main(run) == 0
    events = read_events(run / "events.jsonl")[0]
    records = open_records(home, read_config(run).dataset_id)
    train, held = split(records, 7, 0.1)
    left = int((np.concatenate([train, held]) < 15).sum())
    start = next(event for event in events if event["type"] == "start")
    assert left == 15 and start["left_out"] == {"too_long": 15}
    assert start["train_records"] == int((train >= 15).sum()) and start["held_out_records"] == len(held)
    notes = [event["message"] for event in events if event["type"] == "note"]
    assert any("15 records left out (rows 1, 2, 3, 4, 5 and 10 more): within 48 tokens" in note for note in notes)
    card = (run / "model" / "README.md").read_text()
    assert f"| records | {start['train_records']} |" in card and "15 longer than max_length" in card


@pytest.mark.parametrize(("rows", "why"), [(sums(2), "only 2 records"), ([{"prompt": "Say hi", "completion": f"Hi {n}"} for n in range(20)], "ask the same")])  # fmt: skip
def test_a_run_that_holds_nothing_out_says_so(home, run_of, rows, why):
    data = prepared(home, *run_of(rows))
    assert not len(data.held_out) and why in data.facts["notes"][0]


def test_a_run_without_held_out_records_on_purpose_says_what_that_means(home, run_of):
    assert "eval_share is 0" in prepared(home, *run_of(sums(20), eval_share=0.0)).facts["notes"][0]


def test_a_run_from_before_keeps_the_records_that_it_had(home, run_of):
    rows = [{"instruction": ("short", "long")[n > 399] + f" {n}", "output": f"{n}"} for n in range(800)]
    old, tokenizer = run_of(rows)
    config = json.loads((old / "config.json").read_text())
    del config["split_version"]
    (old / "config.json").write_text(json.dumps(config))
    assert read_config(old).split_version == 1
    records = open_records(home, config["dataset_id"])
    held = split(records, 7, 0.1, version=1)[1][:32]
    asked = prepared(home, old, tokenizer).held_out
    first = tokenizer.decode(asked.row(0)[0])
    assert len(asked) == 32 and records[int(held[0])]["messages"][0]["content"] in first
    new, _ = run_of(rows)
    texts = [tokenizer.decode(prepared(home, new, tokenizer).held_out.row(n)[0]) for n in range(32)]
    assert 8 <= sum("short" in text for text in texts) <= 24


def test_what_the_template_does_not_take_is_told_with_its_rows(home, run_of):
    rows = sums(40)
    rows[4]["tools"] = [{"type": "function", "function": {"name": "add"}}]
    rows[6]["messages"][1]["reasoning_content"] = "A sum."
    data = prepared(home, *run_of(rows))
    assert data.facts["left_out"] == {"no_tools": 1, "no_reasoning": 1}
    assert any("(row 5)" in note and "tools" in note for note in data.facts["notes"])
    assert any("(row 7)" in note and "reasoning" in note for note in data.facts["notes"])


def test_an_answer_marked_as_not_to_be_learned_has_no_labels_in_a_run(home, run_of):
    asked = {"role": "user", "content": "Again?"}
    rows = [
        {
            "messages": [
                row["messages"][0],
                {"role": "assistant", "content": "xyzzy", "weight": 0},
                asked,
                row["messages"][1],
            ]
        }
        for row in sums(40)
    ]
    run, tokenizer = run_of(rows)
    data = prepared(home, run, tokenizer)
    learned = [tokenizer.decode([t for t in data.train.row(i)[1] if t >= 0]) for i in range(len(data.train))]
    assert len(learned) > 20 and not any("xyzzy" in text for text in learned)
    assert all("xyzzy" in tokenizer.decode(data.train.row(i)[0]) for i in range(len(data.train)))
