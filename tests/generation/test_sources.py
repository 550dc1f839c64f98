"""What records are made of keeps all that a conversation says."""

import json

from llmdemo import data
from llmdemo.generation.make import Maker, row_of
from llmdemo.generation.sources import prompts
from llmdemo.settings.generation import GenerationSpec
from tests.generation.test_make import Scripted


def test_the_thoughts_of_an_answer_stay_with_it(home, settings):
    asked, said = {"role": "user", "content": "Who was it?"}, {"role": "assistant", "content": "Ann."}
    rows = [{"messages": [asked, {**said, "reasoning_content": "I saw her."}, {**asked, "content": "Sure?"}, said]}]
    info = data.append.rows_as_dataset(home, settings, rows, "people", "chat", {})
    (source,) = prompts(home, info.dataset_id)
    assert source.prompt == [asked] and source.right == ("Ann.",)
    assert [turn.get("reasoning_content") for turn in source.rest] == ["I saw her.", None, None]


def test_a_paraphrase_keeps_the_tools_and_the_other_right_answers_of_its_record(home, settings):
    asked, said = {"role": "user", "content": "Who was it?"}, {"role": "assistant", "content": "Ann."}
    tool = {"type": "function", "function": {"name": "look_up"}}
    rows = [{"messages": [asked, said]}, {"messages": [asked, said], "tools": [tool], "other_answers": ["Miss Ann"]}]
    info = data.append.rows_as_dataset(home, settings, rows[1:], "people", "chat", {})
    writer = Scripted(say=lambda turns, _: "Which person was it?")
    spec = GenerationSpec.from_dict({"kind": "paraphrases", "dataset_id": info.dataset_id})
    (made,) = Maker([writer], spec, set()).paraphrases(list(enumerate(prompts(home, info.dataset_id))))
    plain = {"number": 1, "messages": rows[0]["messages"], "reason": ""}
    made_rows = [row_of(plain), row_of(json.loads(json.dumps(made.to_dict())))]
    again = data.append.rows_as_dataset(home, settings, made_rows, "made", "chat", {})
    without, kept = list(data.open_records(home, again.dataset_id))
    assert [turn["content"] for turn in kept["messages"]] == ["Which person was it?", "Ann."]
    assert json.loads(kept["tools"]) == [tool] and kept["alternatives"] == ["Miss Ann"]
    assert "tools" not in without and "alternatives" not in without
