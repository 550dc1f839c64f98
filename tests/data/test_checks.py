import numpy as np
import pytest

from llmdemo.data.checks import duplicate_flags, groups, loose_hash, near_duplicates, sketches, text_flags
from llmdemo.data.codes import BIT, CODES, DEFAULT_FILTERS, FLAGS
from llmdemo.data.records import to_batch

FOUND = {
    "control_characters": ["a\x00b", "bell\x07", "zero\u200bwidth", "turn\u202eround", "mark\ufeff"],
    "encoding_damage": ["cafÃ©", "donâ€™t", "bad \ufffd", "that\x92s"],
    "html": ["<b>bold</b>", "a<br/>b", "fish &amp; chips", '<a href="x">y</a>', "&#39;"],
    "special_tokens": ["<|im_end|>", "</s>", "[INST] hi", "<start_of_turn>user"],
    "secret": [
        "key sk-" + "a1B2" * 8,
        "AKIA" + "ABCD1234" * 2,
        "ghp_" + "x1" * 20,
        "-----BEGIN RSA PRIVATE KEY-----",
        'password = "correct-horse"',
        "hf_" + "aB" * 17,
    ],
    "email": ["write to someone@example.org now"],
    "very_long": ["a b " * 8000],
}
CLEAN = [
    "Is 3 < 5 and 5 > 3?",
    "a naïve café, 你好 🎉, \t tab and\nnewline",
    "the password is short: abc",
    "x@y",
    "use <T> in List<T>",
    "AT&T; R&D",
    "a sk-short key",
]


def codes_of(text):
    flags, _ = text_flags(to_batch([{"row": 1, "text": text}], "text"))
    return {code.name for code in FLAGS if flags[0] & (1 << code.bit)}


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in FOUND.items() for text in texts])
def test_each_pattern_is_found(code, text):
    assert code in codes_of(text)


@pytest.mark.parametrize("text", CLEAN)
def test_clean_text_has_no_flags(text):
    assert codes_of(text) == set()


def test_flags_belong_to_the_record_whose_turn_has_them():
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a@b.example"}]
    plain = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    records = [{"row": 1, "messages": plain}, {"row": 2, "messages": turns}, {"row": 3, "messages": plain}]
    flags, characters = text_flags(to_batch(records, "chat"))
    assert flags.tolist() == [0, BIT["email"], 0]
    assert characters.tolist() == [5, 13, 5]


def hashes(*texts):
    return np.array([loose_hash(text) for text in texts], np.uint64)


def test_duplicates_and_conflicts_name_the_first_row():
    prompts, answers = hashes("a", "b", "A ", "a", "a"), hashes("x", "x", "X", "y", "y")
    flags, other = duplicate_flags(prompts, answers, np.arange(1, 6), "chat")
    assert flags.tolist() == [0, 0, BIT["duplicate"], BIT["conflicting_answers"], BIT["duplicate"]]
    assert other.tolist() == [0, 0, 1, 1, 4]


def test_several_preferences_for_one_prompt_do_not_conflict():
    flags, _ = duplicate_flags(hashes("a", "a"), hashes("x", "y"), np.array([1, 2]), "preference")
    assert flags.tolist() == [0, 0]


def test_a_duplicate_across_the_split_is_a_leak_and_only_the_training_side_has_it():
    prompts, answers = hashes("a", "a", "a"), hashes("x", "x", "x")
    flags, other = duplicate_flags(prompts, answers, np.array([1, 2, 3]), "chat", np.array([False, True, False]))
    assert flags.tolist() == [BIT["leak"], 0, BIT["leak"]] and other.tolist() == [2, 0, 2]


LONG = "Write a short letter to the neighbours about the noise last night and ask them kindly to be quiet after ten o'clock"


def test_near_duplicates_are_found_in_words_and_in_scripts_without_spaces():
    chinese = "請寫一封簡短的信給鄰居,說明昨晚的噪音,並客氣地請他們在十點以後保持安靜,謝謝他們的體諒與合作,並祝他們平安健康,萬事如意,順便邀請他們週末來家裡喝茶聊天,認識彼此。"
    texts = [LONG, LONG + ", please", "something else entirely about the price of bread", chinese, chinese + "好"]
    assert near_duplicates(sketches(texts)).tolist() == [0, 0, 2, 3, 3]


def test_short_prompts_that_differ_in_a_number_are_not_near_duplicates():
    texts = [f"Convert {n} kilometers to meters." for n in range(20)]
    assert near_duplicates(sketches(texts)).tolist() == list(range(20))


def test_case_and_punctuation_make_no_difference_to_a_sketch():
    assert near_duplicates(sketches(["Name three fruits.", "name three fruits", "...", ""])).tolist()[:2] == [0, 0]


def test_groups_join_chains_of_equal_and_near():
    prompts = np.array([5, 6, 5, 7, 8, 6], np.uint64)
    near = np.array([0, 1, 1, 3, 2, 5])  # 2 is near 1, 4 is near 2
    found = groups(prompts, near)
    assert len({found[i] for i in (0, 1, 2, 4, 5)}) == 1 and found[3] == 3


def test_every_code_has_its_own_bit_and_a_sentence():
    assert len({code.bit for code in FLAGS}) == len(FLAGS) <= 32
    assert all(code.title and code.message.endswith(".") for code in FLAGS)
    assert set(DEFAULT_FILTERS) < set(BIT) < set(CODES)
