import csv
import io
import json

import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import add_dataset, export_dataset, open_records, problems, report_csv, report_json
from llmdemo.data.export import FORMATS, SHAPES, formula_cells
from llmdemo.data.report import safe_cell


def chat(*texts, system=None):
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *({"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts))]


ODD = 'a "quoted", odd\n\ntext;\twith é 你 🎉 \r\n and =1+1'
DATA = {
    "one turn": [{"messages": chat("Hi?", ODD)}, {"messages": chat(ODD, "'Bye'.")}],
    "several turns": [
        {"messages": chat("Hi?", ODD, "And?", "So.", system="Be odd.")},
        {"messages": chat("Yes?", "No.")},
    ],
    "classes": [{"text": f"{ODD} {n}", "label": "ab"[n % 2]} for n in range(6)],
    "texts": [{"text": ODD}, {"text": "Another one."}],
    "preferences": [{"prompt": "Hi?", "chosen": ODD, "rejected": "No."}],
    "long preferences": [{"messages": chat("Hi?", "Yes?", "So?"), "chosen": ODD, "rejected": "No."}],
    "not learned": [
        {"messages": [*chat("Hi?"), {"role": "assistant", "content": "No.", "weight": 0}, *chat("And?", ODD)]},
        {"messages": chat("Yes?", "No.")},
    ],
    "tools and reasoning": [
        {"messages": chat("Yes?", "No.")},
        {
            "messages": [*chat("Hi?"), {"role": "assistant", "content": ODD, "reasoning_content": "Hm."}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        },
    ],
    "other answers": [{"question": f"{ODD} {n}?", "answer": [f"{n}", ODD, "'so'"]} for n in range(3)],
    "kinds": [{"question": f"{ODD} {n}?", "answer": "So.", "category": "ab"[n % 2]} for n in range(12)],
    "texts of kinds": [{"text": f"{ODD} {n}", "source": "ab"[n % 2]} for n in range(12)],
    "split": [{"messages": chat("Hi?", "Yes."), "split": "train"}, {"messages": chat("And?", "No."), "split": "eval"}],
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.slow
def test_what_is_exported_and_added_again_is_the_same_data_set(home, settings, write, tmp_path, name):
    info = add_dataset(home, settings, write("a.json", DATA[name]), "a")
    written = 0
    for shape in SHAPES[info.task]:
        for format_ in FORMATS:
            try:
                path = export_dataset(home, info.dataset_id, tmp_path, shape, format_)
            except UserError as error:
                assert "hold" in error.message
                continue
            again = add_dataset(home, settings, path, "b")
            assert again.content_hash == info.content_hash, (shape, format_)
            written += 1
    assert written >= 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_export_that_cannot_be_says_so(home, settings, write, tmp_path):
    info = add_dataset(home, settings, write("a.json", DATA["texts"]), "a")
    with pytest.raises(UserError, match="not a shape"):
        export_dataset(home, info.dataset_id, tmp_path, "alpaca")
    with pytest.raises(UserError, match="not a known format"):
        export_dataset(home, info.dataset_id, tmp_path, "text", "xlsx")


BAD = [
    {"instruction": "Same.", "output": "One."},
    {"instruction": "=cmd()", "output": ""},
    {"instruction": "Same.", "output": "One."},
]


def test_the_report_holds_every_problem(home, settings, write):
    info = add_dataset(home, settings, write("a.json", BAD), "a")
    report = json.loads("".join(report_json(home, info.dataset_id)))
    assert [(p["row"], p["code"]) for p in report["problems"]] == [(2, "empty_response"), (3, "duplicate")]
    assert report["content_hash"] == info.content_hash
    rows = list(csv.DictReader(io.StringIO("".join(report_csv(home, info.dataset_id)))))
    assert [row["code"] for row in rows] == ["empty_response", "duplicate"]
    assert problems(home, info.dataset_id, code="duplicate")[1] == 1
    assert problems(home, info.dataset_id, offset=1, limit=1)[0][0]["row"] == 3
    with pytest.raises(UserError, match="not a kind"):
        problems(home, info.dataset_id, code="strange")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "|calc", "%0A"])
def test_a_cell_of_the_report_is_never_a_formula(cell):
    assert safe_cell(cell) == "'" + cell
    assert safe_cell(7) == "7" and safe_cell(None) == "" and safe_cell("plain") == "plain"


def test_the_first_excerpt_of_a_report_is_plain_text(home, settings, write):
    info = add_dataset(
        home, settings, write("a.json", [*BAD, {"instruction": "<b>x</b>\x07", "output": "y" * 200}]), "a"
    )
    found = {p["code"]: p["excerpt"] for p in info.problems}
    assert found["html"] == found["control_characters"] and "\x07" not in found["html"]
    assert len(found["html"]) < 140
    assert len(open_records(home, info.dataset_id)) == 2


def test_the_cells_that_a_spreadsheet_would_run_are_counted_and_written_as_they_are(home, settings, write, tmp_path):
    rows = [
        {"prompt": "=1+1", "completion": "+2"},
        {"prompt": "@x", "completion": "fine"},
        {"prompt": "a", "completion": "=b"},
    ]
    info = add_dataset(home, settings, write("a.json", rows), "a")
    for format_, cells in (("csv", 4), ("tsv", 4), ("jsonl", 0), ("parquet", 0)):
        path = export_dataset(home, info.dataset_id, tmp_path, "pairs", format_)
        assert formula_cells(path) == cells
    with open(export_dataset(home, info.dataset_id, tmp_path, "pairs", "csv"), newline="") as file:
        assert list(csv.DictReader(file)) == rows
