"""Questions about documents: where passages are cut, what counts as grounded, and what each record keeps."""

import pytest

from llmdemo import data
from llmdemo.generation.make import Maker
from llmdemo.generation.passages import LONGEST, SHORTEST, asking, cut, is_grounded, passages
from llmdemo.generation.sources import Source
from llmdemo.generation.writers import Text
from llmdemo.settings.generation import GenerationSpec

PASSAGE = (
    "The lighthouse of Quell was built in 1871 by the engineer Ada Morven. It stands on a rock two miles off the coast, and its "
    "lamp was lit with whale oil until 1902, when the village got its first generator."
)


class Scripted:
    """Asks and answers what it is told; `seen`: the prompts."""

    name, failure = "scripted", None

    def __init__(self, question, answer):
        self.said, self.seen = [question, answer], []

    def answers(self, conversations, sampling):
        self.seen += [turns[-1]["content"] for turns in conversations]
        said = self.said.pop(0)
        return [Text(said, True, logprobs=[-0.5]) for _ in conversations]


def asked(question, answer, **settings):
    writer = Scripted(question, answer)
    spec = GenerationSpec.from_dict({"kind": "questions", "dataset_id": "data-x", **settings})
    (made,) = Maker([writer], spec, set()).questions([(3, Source(7, [], [], passage=PASSAGE))])
    return made, writer


def test_a_record_has_its_question_its_answer_and_its_passage():
    made, writer = asked("Who built the lighthouse of Quell?", "The engineer Ada Morven.")
    assert made.reason == "" and made.messages == [
        {"role": "user", "content": f"{PASSAGE}\n\nWho built the lighthouse of Quell?"},
        {"role": "assistant", "content": "The engineer Ada Morven."},
    ]
    line = made.to_dict()
    assert line["passage"] == PASSAGE and line["source"] == 7 and len(line["drawn"]) == 2
    assert all(PASSAGE in prompt for prompt in writer.seen) and "Question: Who built" in writer.seen[1]
    made, _ = asked("Who built the lighthouse of Quell?", "The engineer Ada Morven.", with_passage=False)
    assert made.messages[0]["content"] == "Who built the lighthouse of Quell?" and made.to_dict()["passage"] == PASSAGE


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("Tell me about the lighthouse.", "It is tall.", "no_question"),
        ("When was the lighthouse built?", "It was built in 1890.", "ungrounded"),
        ("Who built the lighthouse?", "The famous Scottish architect Robert Stevenson.", "ungrounded"),
        ("When was the lighthouse built?", "", "empty"),
        ("Why?", "Because.", "short"),
        ("What is the passage about?", "The lighthouse of Quell.", "no_question"),
        ("What is the answer to this question?", "1871", "no_question"),
        ("What happened in 1902?", "The village got its first generator.", ""),
    ],
)
def test_what_is_left_out_says_why(question, answer, reason):
    made, _ = asked(question, answer)
    assert made.reason == reason and question in made.messages[0]["content"]


@pytest.mark.parametrize(
    ("answer", "grounded"),
    [
        ("1871", True),
        ("1872", False),
        ("Ada Morven built it, an engineer.", True),
        ("Yes.", False),
        ("The village generator replaced the whale oil.", True),
        ("A nuclear reactor replaced candles.", False),
    ],
)
def test_an_answer_is_grounded_where_its_numbers_and_most_telling_words_stand_in_the_passage(answer, grounded):
    assert is_grounded(answer, PASSAGE, "What about the lighthouse of Quell?") == grounded


def test_a_model_is_shown_questions_of_the_passages_script_before_it_asks():
    english, chinese = asking(PASSAGE), asking("奎爾燈塔建於1871年，由工程師莫文設計，位於離岸兩英里的岩石上。")
    for turns, mark in ((english, "How long"), (chinese, "濁水溪")):
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2 + ["user"]
        assert mark in turns[1]["content"]
    assert PASSAGE in english[-1]["content"]


def test_chinese_answers_are_compared_by_pairs_of_characters():
    passage = "奎爾燈塔建於1871年，由工程師莫文設計，位於離岸兩英里的岩石上。"
    assert is_grounded("工程師莫文", passage, "誰設計了奎爾燈塔？")
    assert not is_grounded("建築師史蒂文森", passage, "誰設計了奎爾燈塔？")


def test_passages_are_whole_sentences_within_bounds_and_keep_their_record(home, settings, tmp_path):
    text = " ".join(f"Sentence number {n} tells of the village and its lamp." for n in range(60))
    pieces = cut(text)
    assert len(pieces) > 2 and all(SHORTEST <= len(piece) <= LONGEST for piece in pieces)
    assert all(piece.startswith("Sentence") and piece.endswith(".") for piece in pieces)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", ""), "nothing is lost between them"
    assert cut("Too short.") == [] and cut("x" * 5000) == []
    (tmp_path / "doc.txt").write_text(f"Too short.\n\n{PASSAGE}\n\n{text}\n")
    info = data.add_dataset(home, settings, tmp_path / "doc.txt", "doc")
    found = passages(home, info.dataset_id)
    assert found[0].passage == PASSAGE and found[0].place == 1 and {each.place for each in found} == {1, 2}
