"""What requests are about: languages, topics of the training data, repetition."""

import pytest

from llmdemo.serving.mix import NO_TOPIC, Topics, language_of, repetition_of

COOKING = ["How long do I boil an egg in water?", "Which oven heat suits bread dough?", "Can I fry an egg in butter?"]
STARS = ["How far is the nearest star from Earth?", "Why do planets orbit the sun?", "Which planet has a ring?"]


def test_languages_are_told_apart_and_what_is_too_short_is_undetermined():
    assert language_of("What is the capital of France, and why is it there?") == "en"
    assert language_of("Was ist die Hauptstadt von Frankreich, und warum liegt sie dort?") == "de"
    assert language_of("法國的首都是哪裡？為什麼？") == "zh"
    assert language_of("42?") == "und"


@pytest.mark.parametrize(
    "text, expected",
    [("", 0.0), ("one two", 0.0), ("a b c d e f", 0.0), ("x y z " * 4, 1 - 3 / 10), ("哈哈哈哈哈", 1 - 1 / 3)],
)
def test_repetition_is_the_share_of_phrases_that_stood_there_before(text, expected):
    assert repetition_of(text) == pytest.approx(expected)


def test_topics_are_those_of_the_training_data_and_named_by_its_words():
    topics = Topics([*COOKING, *STARS] * 10)
    egg, star, nothing = topics.of(["I want to fry an egg", "Is that planet near a star?", "Qwxz vvv"])
    assert egg != star and nothing == NO_TOPIC
    assert {egg, star} <= set(topics.names) and all("," in name for name in topics.names)


def test_no_word_of_a_request_is_in_a_topics_name():
    topics = Topics([*COOKING, *STARS] * 10)
    topics.of(["my password is hunter2"])
    assert "hunter" not in " ".join(topics.names)


def test_too_few_texts_have_no_topics():
    with pytest.raises(ValueError, match="too few"):
        Topics(COOKING)
