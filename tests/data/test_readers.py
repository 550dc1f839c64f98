"""What is read of JSON, and the place that is named where it is none."""

import json
import random
import re

import pytest

from llmdemo.core.errors import UserError
from llmdemo.data import add_dataset, open_records
from llmdemo.data import readers as readers_module
from llmdemo.data.readers import read_batches
from llmdemo.data.values import Pairs

_PLACE = re.compile(r"line (\d+), column (\d+)")


def _array(rows: int, indent: int | None) -> str:
    made = [{"instruction": f'Ask {n}: \\ "x" é', "output": [n, n * 0.5, None, {"a": "b"}]} for n in range(rows)]
    if indent:
        return json.dumps(made, indent=indent, ensure_ascii=False)
    return "[\n" + ",\n".join(json.dumps(row) for row in made) + "\n]\n"


def _mutated(text: str, generator: random.Random) -> str:
    """The text with one of the faults that people's files have."""
    places = [place for place, character in enumerate(text) if character in '",:{}[]\n']
    at = generator.choice(places)
    kind = generator.randrange(9)
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[:at] + "," + text[at:]
    if kind == 2:
        return text[:at] + text[at + 1 :]
    if kind == 3:
        return text[:at].replace('"', "'", 1) + text[at:]
    if kind == 4:
        quotes = [place for place, character in enumerate(text) if character == '"']
        return text[: (at := generator.choice(quotes) + 1)] + "\n" + text[at:]
    if kind == 5:
        return text.replace('": ', '" ', 1) if generator.random() < 0.5 else text[:at] + text[at:].replace('":', '"', 1)
    if kind == 6:
        return text[:at] + "]" + text[at:]
    if kind == 7:
        return text[:at] + text[at:].replace("}", ",}", 1)
    return text[:at] + generator.choice(["//x\n", "True", "{", "\x00", "\\", "1.", "-"]) + text[at:]


def _place_named(path) -> tuple[int, int] | None:
    try:
        for _ in read_batches(path, "json", "utf-8-sig"):
            pass
    except UserError as error:
        found = _PLACE.search(str(error))
        assert found, str(error)
        return int(found[1]), int(found[2])
    return None


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("read", [1 << 20, 64])
def test_a_syntax_error_names_the_place_that_json_loads_names(tmp_path, monkeypatch, indent, read):
    """`read`: characters read at once; small ones let the window move, as over a large file."""
    monkeypatch.setattr(readers_module, "_READ", read)
    generator, path, broken = random.Random(indent), tmp_path / "a.json", 0
    whole = _array(9, indent)
    for _ in range(600):
        text = _mutated(whole, generator)
        if not text.lstrip().startswith("["):
            continue
        path.write_text(text, encoding="utf-8", newline="")
        try:
            json.loads(text)
            expected = None
        except json.JSONDecodeError as error:
            expected, broken = (error.lineno, error.colno), broken + 1
        assert _place_named(path) == expected, text
    assert broken > 400


def test_an_object_that_is_broken_names_the_place_too(tmp_path):
    text = '{\r\n"train": [\r\n{"prompt": "a", "completion" "b"}]}'
    path = tmp_path / "a.json"
    path.write_bytes(text.encode())
    with pytest.raises(json.JSONDecodeError) as found:
        json.loads(text)
    assert _place_named(path) == (found.value.lineno, found.value.colno)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_numbers_beyond_64_bits_keep_their_digits(home, settings, write, name):
    large = 2**80
    rows = [{"instruction": "2^80?", "output": large, "id": 10**24}, {"instruction": "Ratio?", "output": 0.1}]
    text = json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows))
    info = add_dataset(home, settings, write(name, text), "a")
    answers = [record["messages"][-1]["content"] for record in open_records(home, info.dataset_id)]
    assert answers == ["1208925819614629174706176", "0.1"]


TWICE = '{"instruction": "Ask", "output": "first", "output": "second"}'


@pytest.mark.parametrize(
    "row",
    [
        TWICE,
        TWICE.replace('"output": "second"', '"output" : "second"'),
        '{"messages": [{"role": "user", "content": "a", "content": "b"}, {"role": "assistant", "content": "c"}]}',
        '{"messages": "[{\\"role\\": \\"user\\", \\"role\\": \\"assistant\\", \\"content\\": \\"c\\"}]"}',
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_record_with_a_key_that_stands_twice_is_left_out_with_its_row(home, settings, write, name, row):
    good = [json.dumps({key: value, "output": "x"}) for key, value in (("instruction", "How"), ("instruction", "Why"))]
    if "messages" in row:
        turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
        good = [json.dumps({"messages": [{**turns[0], "content": text}, turns[1]]}) for text in "xy"]
    rows = [good[0], row, good[1]]
    text = "\n".join(rows) if name.endswith("l") else f"[{', '.join(rows)}]"
    problems = add_dataset(home, settings, write(name, text), "a").problems
    assert [problem["row"] for problem in problems] == [2]
    assert "twice" in problems[0]["message"] or '"[{' in row


@pytest.mark.parametrize("deep", ["[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900])
def test_a_record_that_is_nested_as_deep_as_it_may_be_does_not_exhaust_the_stack(home, settings, write, deep):
    row = '{"instruction": "a", "output": "b", "more": %s}'
    info = add_dataset(home, settings, write("rows.jsonl", "\n".join([row % 1, row % deep])), "a")
    assert info.kept + len(info.problems) >= 1


@pytest.mark.parametrize(("first", "second"), [("0", "false"), ("1", "1.0"), ("true", "1")])
def test_values_that_only_python_takes_for_equal_are_two(first, second):
    pairs = Pairs()
    json.loads(f'{{"label": {first}, "label": {second}}}', object_pairs_hook=pairs)
    assert pairs.twice == "label"


def test_a_key_that_stands_twice_with_one_value_costs_nothing(home, settings, write):
    row = TWICE.replace("second", "first")
    info = add_dataset(home, settings, write("rows.jsonl", f"{row}\n{row.replace('Ask', 'Tell')}"), "a")
    assert info.kept == 2 and info.problems == []


def test_a_file_that_is_one_object_with_a_list_twice_is_refused(home, settings, write):
    text = '{"train": [{"instruction": "a", "output": "b"}], "train": [{"instruction": "c", "output": "d"}]}'
    with pytest.raises(UserError, match="train twice"):
        add_dataset(home, settings, write("rows.json", text), "a")
