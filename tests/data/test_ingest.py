import copy
import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import (
    ColumnsNeeded,
    Stopped,
    add_dataset,
    delete_dataset,
    encode_chat,
    encode_classify,
    get_dataset,
    list_datasets,
    measure_tokens,
    open_records,
    rename_dataset,
    token_view,
    view_record,
)
from llmdemo.data.measure import Meter
from llmdemo.models.classifier_eos import append_eos

PAIRS = [("What is two and two?", "Four."), ("Name a colour.", "Blue, for example."), ("Say hi in French.", "Salut !")]


def chat(question, answer, system=None):
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def messages_of(home, info):
    return [record["messages"] for record in open_records(home, info.dataset_id)]


SHAPES = {
    "alpaca": [{"instruction": q, "input": "", "output": a} for q, a in PAIRS],
    "prompt and completion": [{"prompt": q, "completion": a} for q, a in PAIRS],
    "question and answer": [{"id": 7, "question": q, "answer": a} for q, a in PAIRS],
    "dolly": [{"instruction": q, "context": "", "response": a, "category": "open_qa"} for q, a in PAIRS],
    "sharegpt": [{"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]} for q, a in PAIRS],
    "messages": [{"messages": chat(q, a)} for q, a in PAIRS],
    "turns": [{"conversations": [q, a]} for q, a in PAIRS],
    "ultrachat": [{"prompt": q, "prompt_id": "x", "messages": chat(q, a)} for q, a in PAIRS],
    "instances": [{"instruction": q, "instances": [{"input": "", "output": a}]} for q, a in PAIRS],
    "under a key": {"data": [{"instruction": q, "output": a} for q, a in PAIRS]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_record_in_each_shape_gives_the_same_conversation(home, settings, write, shape):
    info = add_dataset(home, settings, write("a.json", SHAPES[shape]), "a")
    assert info.task == "chat" and info.kept == info.rows == 3
    assert messages_of(home, info) == [chat(q, a) for q, a in PAIRS]
    assert info.content_hash == add_dataset(home, settings, write("b.json", SHAPES["alpaca"]), "b").content_hash


def _encodings(rows):
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    table = "".join(f'{r["instruction"]},{r["input"]},"{r["output"]}"\n' for r in rows)
    head = "instruction,input,output\n"
    return {
        "a.jsonl": lines.encode(),
        "bom.jsonl": b"\xef\xbb\xbf" + lines.encode(),
        "utf16.jsonl": lines.encode("utf-16"),
        "windows.jsonl": lines.replace("\n", "\r\n").encode(),
        "misnamed.json": lines.encode(),
        "pretty.json": json.dumps(rows, indent=2).encode(),
        "utf16.json": json.dumps(rows).encode("utf-16"),
        "a.csv": (head + table).encode(),
        "bom.csv": b"\xef\xbb\xbf" + (head + table).encode(),
        "windows.csv": (head + table).replace("\n", "\r\n").encode(),
        "semicolon.csv": "".join(f"{r['instruction']};{r['input']};{r['output']}\n" for r in rows).join(
            ["instruction;input;output\n", ""]).encode(),
        "a.tsv": "".join("\t".join(r.values()) + "\n" for r in rows).join(["instruction\tinput\toutput\n", ""]).encode(),
    }  # fmt: skip


@pytest.mark.parametrize("name", _encodings(SHAPES["alpaca"]))
def test_each_format_and_encoding_gives_the_same_records(home, settings, write, name):
    info = add_dataset(home, settings, write(name, _encodings(SHAPES["alpaca"])[name]), name)
    assert messages_of(home, info) == [chat(q, a) for q, a in PAIRS]


def test_parquet_gives_the_same_records(home, settings, tmp_path):
    for rows in (SHAPES["alpaca"], SHAPES["sharegpt"]):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        info = add_dataset(home, settings, tmp_path / "a.parquet", "a")
        assert messages_of(home, info) == [chat(q, a) for q, a in PAIRS]


def test_the_input_stands_below_the_instruction(home, settings, write):
    rows = [{"instruction": "Add.", "input": "1 and 2", "output": 3}]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    assert messages_of(home, info) == [chat("Add.\n\n1 and 2", "3")]


def test_system_tool_and_observation_turns_are_kept(home, settings, write):
    turns = [("human", "Rain?"), ("function_call", '{"name":"weather"}'), ("observation", "no"), ("gpt", "No rain.")]
    rows = [{"system": "Be brief.", "conversations": [{"from": role, "value": text} for role, text in turns]}]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    roles = [message["role"] for message in messages_of(home, info)[0]]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]


def test_tool_calls_are_kept_as_the_assistants_text(home, settings, write):
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "add", "arguments": '{"a": 1}'}}],
    }
    turns = [
        {"role": "user", "content": "1?"},
        call,
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "1."},
    ]
    info = add_dataset(home, settings, write("a.json", [{"messages": turns}]), "a")
    assert messages_of(home, info)[0][1]["content"] == '{"name":"add","arguments":{"a":1}}'


def test_several_instances_of_an_instruction_are_several_records_of_one_row(home, settings, write):
    rows = [{"instruction": "Double it.", "instances": [{"input": "1", "output": "2"}, {"input": "2", "output": "4"}]}]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    assert (info.rows, info.records) == (1, 2)
    assert [record["row"] for record in open_records(home, info.dataset_id)] == [1, 1]


PREFERENCES = {
    "texts": {"prompt": "Hi?", "chosen": "Hello!", "rejected": "Go."},
    "turns": {"conversations": [{"from": "human", "value": "Hi?"}], "chosen": {"from": "gpt", "value": "Hello!"},
              "rejected": {"from": "gpt", "value": "Go."}},
    "conversations": {"chosen": chat("Hi?", "Hello!"), "rejected": chat("Hi?", "Go.")},
    "with a prompt": {"prompt": "Hi?", "chosen": chat("Hi?", "Hello!"), "rejected": chat("Hi?", "Go.")},
    "transcript": {"chosen": "\n\nHuman: Hi?\n\nAssistant: Hello!", "rejected": "\n\nHuman: Hi?\n\nAssistant: Go."},
}  # fmt: skip


@pytest.mark.parametrize("shape", PREFERENCES)
def test_a_preference_in_each_shape_gives_the_same_record(home, settings, write, shape):
    info = add_dataset(home, settings, write("a.json", [PREFERENCES[shape]]), "a")
    record = open_records(home, info.dataset_id)[0]
    assert info.task == "preference"
    assert record == {"row": 1, "messages": chat("Hi?", "")[:1], "chosen": "Hello!", "rejected": "Go."}


@pytest.mark.parametrize("head", ["", "label\ttext\n"])
@pytest.mark.parametrize("label_first", [True, False])
def test_labels_stand_first_or_last_with_or_without_a_header(home, settings, write, head, label_first):
    rows = [("ham" if n % 3 else "spam", f'message {n} with a "quote') for n in range(30)]
    columns = slice(None) if label_first else slice(None, None, -1)
    head = "" if not head else "\t".join(head.strip().split("\t")[columns]) + "\n"
    info = add_dataset(
        home, settings, write("a.tsv", head + "".join("\t".join(row[columns]) + "\n" for row in rows)), "a"
    )
    assert info.task == "classify" and info.labels == ["ham", "spam"] and info.kept == 30
    record = open_records(home, info.dataset_id)[0]
    assert (record["label"], record["text"]) == ("spam", 'message 0 with a "quote')


def test_plain_text_is_paragraphs_where_there_are_blank_lines(home, settings, write):
    info = add_dataset(home, settings, write("a.txt", "One\ntwo.\n\n\nThree.\n"), "a")
    assert info.task == "text"
    assert [record["text"] for record in open_records(home, info.dataset_id)] == ["One\ntwo.", "Three."]


def test_unknown_columns_ask_which_is_which_and_guess(home, settings, write):
    path = write("a.csv", "ask me,tell me\n" + "".join(f"question {n},a much longer answer {n}\n" for n in range(20)))
    with pytest.raises(ColumnsNeeded) as caught:
        add_dataset(home, settings, path, "a")
    assert caught.value.guess == {"prompt": "ask me", "response": "tell me"}
    info = add_dataset(home, settings, path, "a", columns=caught.value.guess)
    assert messages_of(home, info)[0] == chat("question 0", "a much longer answer 0")
    with pytest.raises(UserError, match="no column"):
        add_dataset(home, settings, path, "a", columns={"prompt": "nothing", "response": "tell me"})


COLUMNS = {
    ("input", "output"): ("pairs", "chat"),
    ("query", "response"): ("pairs", "chat"),
    ("instruction", "input", "output", "text"): ("Alpaca", "chat"),
    ("question", "context", "answer"): ("pairs", "chat"),
    ("text", "target"): ("classification", "classify"),
    ("sentence", "label"): ("classification", "classify"),
    ("id", "title", "text"): ("raw text", "text"),
    ("prompt", "chosen", "rejected"): ("preference", "preference"),
    ("Instruction", "Output"): ("Alpaca", "chat"),
}


@pytest.mark.parametrize("columns", COLUMNS, ids="-".join)
def test_the_shape_follows_from_the_columns_names(home, settings, write, columns):
    rows = [{column: f"{column} {n % 3} {'ab'[n % 2]}" for column in columns} for n in range(12)]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    assert (info.shape, info.task) == COLUMNS[columns]


def test_a_label_beside_unknown_columns_guesses_the_longest_as_text(home, settings, write):
    rows = [{"premise": f"a long premise {n}", "idea": f"idea {n}", "label": n % 2} for n in range(9)]
    with pytest.raises(ColumnsNeeded) as caught:
        add_dataset(home, settings, write("a.json", rows), "a")
    assert caught.value.guess == {"text": "premise", "label": "label"} and caught.value.task == "classify"


def test_a_split_in_the_file_is_kept(home, settings, write):
    rows = {"train": [{"prompt": "a", "completion": "b"}], "test": [{"prompt": "c", "completion": "d"}]}
    info = add_dataset(home, settings, write("a.json", rows), "a")
    assert open_records(home, info.dataset_id).splits() == ["train", "eval"]


def test_problems_name_row_line_and_what_happens(home, settings, write):
    rows = [
        {"instruction": "Ask.", "output": "Yes."},
        {"instruction": "Ask.", "output": ""},
        7,
        {"instruction": "Ask.", "output": "Yes."},
    ]
    info = add_dataset(home, settings, write("a.jsonl", "\n".join(map(json.dumps, rows))), "a")
    assert (info.rows, info.records, info.kept) == (4, 2, 1)
    found = [(p["row"], p["line"], p["code"], p["action"]) for p in info.problems]
    assert found == [
        (2, 2, "empty_response", "left out"),
        (3, 3, "wrong_shape", "left out"),
        (4, 4, "duplicate", "left out"),
    ]
    assert "row 1" in info.problems[2]["message"]
    assert get_dataset(home, info.dataset_id) == info


def test_tokens_are_measured_at_once_or_later(home, settings, write, tokenizer):
    path = write("a.json", SHAPES["alpaca"])
    now = add_dataset(home, settings, path, "a", tokenizer=tokenizer)
    later = add_dataset(home, settings, path, "a")
    assert later.tokens is None
    assert measure_tokens(home, later.dataset_id, tokenizer).tokens == now.tokens
    assert get_dataset(home, later.dataset_id).tokens == now.tokens
    rows = [encode_chat(chat(q, a), tokenizer, 512) for q, a in PAIRS]
    assert now.tokens["total"] == sum(len(row.input_ids) for row in rows)
    assert now.tokens["trained"] == sum(row.trained for row in rows)


def test_a_record_without_room_for_its_answer_is_left_out(home, settings, write, tokenizer):
    rows = [
        {"prompt": "Hi", "completion": "Yes"},
        {"prompt": "word " * 600, "completion": "Yes"},
        {"prompt": "Go", "completion": "on " * 600},
    ]
    info = add_dataset(home, settings, write("a.json", rows), "a", tokenizer=tokenizer)
    assert [(p["row"], p["code"], p["action"]) for p in info.problems] == [
        (2, "prompt_too_long", "left out"),
        (3, "response_cut", "kept, cut"),
    ]
    assert info.kept == 2 and info.tokens["cut"] == 1


def test_the_token_view_shows_what_is_trained(tokenizer):
    encoded = encode_chat(chat("Hi 你", "Yes."), tokenizer, 512)
    view = token_view(encoded, tokenizer)
    assert [item["position"] for item in view] == list(range(len(view)))
    assert "".join(item["text"] for item in view if item["trained"]) == "Yes.<|im_end|>"
    assert view[0]["special"] and view[0]["text"] == "<|im_start|>"
    assert [item["text"] for item in view if "0x" in item["text"]] == ["<0xE4>", "<0xBD>", "<0xA0>"]
    assert [item["eos"] for item in view].count(True) == 2


def test_the_view_of_a_record_marks_what_is_cut(tokenizer):
    whole = view_record({"messages": chat("Hi", "Yes, and no.")}, tokenizer, 512)[0]
    cut = view_record({"messages": chat("Hi", "Yes, and no.")}, tokenizer, whole["length"] - 4)[0]
    assert (whole["cut"], cut["cut"]) == (0, 4)
    assert [token["cut"] for token in cut["tokens"]][-5:] == [False, True, True, True, True]
    assert cut["trained"] == sum(token["trained"] for token in cut["tokens"]) == whole["trained"] - 3
    everything = view_record({"messages": chat("Hi", "Yes.")}, tokenizer, 512, "all")[0]
    assert everything["trained"] == everything["length"] - 2
    two = view_record({"messages": chat("Hi", "")[:1], "chosen": "A", "rejected": "B"}, tokenizer, 512)
    assert [row["title"] for row in two] == ["chosen", "rejected"]
    assert view_record({"text": "some text", "label": "x"}, tokenizer, 512)[0]["trained"] == 0
    assert view_record({"text": "some text"}, tokenizer, 2)[0]["cut"] == 0


def test_the_view_of_a_cut_text_keeps_the_token_that_closes_it(tiny_tokenizer):
    closing = copy.deepcopy(tiny_tokenizer)
    append_eos(closing)
    text = {"text": "a text of some words", "label": "x"}
    whole = view_record(text, closing, 512)[0]
    cut = view_record(text, closing, whole["length"] - 2)[0]
    assert [token["cut"] for token in cut["tokens"]] == [False] * (whole["length"] - 3) + [True, True, False]
    seen = [token["id"] for token in cut["tokens"] if not token["cut"]]
    assert seen == encode_classify(text["text"], closing, whole["length"] - 2).input_ids
    assert not any(token["cut"] for token in whole["tokens"])


def test_a_new_name_given_while_tokens_are_counted_stays(home, settings, write, tokenizer, monkeypatch):
    info = add_dataset(home, settings, write("a.json", SHAPES["alpaca"]), "old")
    assert info.tokens is None

    finish = Meter.finish

    def renamed_meanwhile(meter):
        rename_dataset(home, info.dataset_id, "new")
        return finish(meter)

    monkeypatch.setattr(Meter, "finish", renamed_meanwhile)
    measure_tokens(home, info.dataset_id, tokenizer)
    found = get_dataset(home, info.dataset_id)
    assert found.name == "new" and found.tokens["total"] > 0


def test_a_files_own_split_stays_where_some_rows_tell_none(home, settings, write):
    rows = [
        {"instruction": f"Say {n}.", "output": str(n), "split": "test" if n % 4 == 0 else "train"} for n in range(12)
    ]
    rows[5]["split"], rows[6]["split"] = None, " "
    records = open_records(home, add_dataset(home, settings, write("a.json", rows), "a").dataset_id)
    assert records.splits()[:8] == ["eval", "train", "train", "train", "eval", None, None, "train"]


def test_a_record_of_over_a_million_characters_is_left_out(home, settings, write):
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b" * 1_000_001}]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    assert info.kept == 1 and info.counts == {"too_long": 1}


def test_a_data_set_can_be_renamed_listed_and_deleted(home, settings, write):
    info = add_dataset(home, settings, write("a.json", SHAPES["alpaca"]), "../../x\n\x07y")
    assert info.name == "x y"
    assert rename_dataset(home, info.dataset_id, "better").content_hash == info.content_hash
    assert [item.name for item in list_datasets(home)] == ["better"]
    delete_dataset(home, info.dataset_id)
    assert list_datasets(home) == [] and list(home.tmp.iterdir()) == []
    with pytest.raises(UserError, match="no data set"):
        get_dataset(home, info.dataset_id)
    with pytest.raises(UserError, match="is not an id"):
        delete_dataset(home, "../datasets")


def test_stopping_leaves_nothing_behind(home, settings, write):
    with pytest.raises(Stopped):
        add_dataset(home, settings, write("a.json", SHAPES["alpaca"]), "a", should_stop=lambda: True)
    assert list(home.datasets.iterdir()) == [] and list(home.tmp.iterdir()) == []


def test_progress_grows_to_the_end(home, settings, write):
    seen = []
    rows = [{"prompt": f"question {n}", "completion": "answer"} for n in range(5000)]
    add_dataset(home, settings, write("a.json", rows), "a", progress=lambda share, text: seen.append(share))
    assert len(seen) > 3 and seen == sorted(seen) and seen[-1] <= 1


def test_csv_cells_may_hold_quotes_delimiters_and_newlines(home, settings, tmp_path):
    cells = ['a "quoted" word', "one, two", "two\nlines", "tab\there", "'"]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        writer.writerows([[f"{cell}?", cell] for cell in cells])
    info = add_dataset(home, settings, tmp_path / "a.csv", "a")
    assert messages_of(home, info) == [chat(f"{cell}?", cell) for cell in cells]
    lines = [record["line"] for record in open_records(home, info.dataset_id).page()[0]]
    assert lines == [2, 3, 4, 6 + 1, 8]


def test_a_full_disk_is_a_sentence_and_leaves_nothing(home, settings, write, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llmdemo.data.ingest.deduplicate", full)
    with pytest.raises(UserError, match="No space left"):
        add_dataset(home, settings, write("a.json", SHAPES["alpaca"]), "a")
    assert list(home.datasets.iterdir()) == [] and list(home.tmp.iterdir()) == []


def test_the_work_after_the_last_record_tells_its_progress_and_can_be_stopped(home, settings, alpaca_file):
    told = []
    add_dataset(home, settings, alpaca_file, "a", progress=lambda share, what: told.append((share, what)))
    late = [share for share, what in told if what == "looking for duplicates"]
    assert len(late) >= 4 and late == sorted(late) and late[-1] < 1
    before = sorted(home.datasets.iterdir())
    stop = []
    with pytest.raises(Stopped):
        add_dataset(
            home,
            settings,
            alpaca_file,
            "b",
            progress=lambda share, _: share > 0.97 and stop.append(1),
            should_stop=lambda: bool(stop),
        )
    assert sorted(home.datasets.iterdir()) == before and not any(home.tmp.iterdir())
