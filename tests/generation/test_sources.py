"""What records are made of keeps all that a conversation says."""

from llmdemo import data
from llmdemo.generation.sources import prompts


def test_the_thoughts_of_an_answer_stay_with_it(home, settings):
    asked, said = {"role": "user", "content": "Who was it?"}, {"role": "assistant", "content": "Ann."}
    rows = [{"messages": [asked, {**said, "reasoning_content": "I saw her."}, {**asked, "content": "Sure?"}, said]}]
    info = data.append.rows_as_dataset(home, settings, rows, "people", "chat", {})
    (source,) = prompts(home, info.dataset_id)
    assert source.prompt == [asked] and source.right == ("Ann.",)
    assert [turn.get("reasoning_content") for turn in source.rest] == ["I saw her.", None, None]
