"""The last match of a pattern from outside, against Python's own, and patterns that hurt."""

import re
import time

import pytest

from llmdemo.core.errors import UserError
from llmdemo.core.patterns import check_pattern, last_match

TEXTS = [
    "",
    "a1b22",
    "answer: 3, then answer: 14 .",
    "k=v q=w",
    "(a) [b] (c)",
    "日本 5 円",
    "x\ny 7\n",
    "\ue000 1 \ue001",
]
PATTERNS = [
    r"\d+",
    r"answer: (\d+)",
    r"(\w)=(\w)",
    r"\[([^]]+)\]",
    r"[()]([a-z])",
    r"(\d) 円",
    r"(?:x|y)\s+(\d)",
    r"zzz",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_last_match_is_the_last_that_python_finds(pattern):
    for text in TEXTS:
        found = [match[1] if match.re.groups else match[0] for match in re.finditer(pattern, text)]
        assert last_match(text, pattern) == (found[-1] if found else None)


def test_a_named_group_is_taken_as_any_other():
    assert last_match("k=v q=w", r"(?P<key>\w)=(?P<value>\w)") == "q"


@pytest.mark.parametrize("pattern", ["(", "[", "*", "\\", "(?=a)", "a{5000}", "(?P<x", r"(a)\1"])
def test_a_pattern_that_re2_cannot_read_is_refused_by_a_sentence_with_the_settings_name(pattern):
    with pytest.raises(UserError, match="vote_regex cannot be read"):
        check_pattern("vote_regex", pattern)


def test_a_pattern_that_explodes_elsewhere_takes_no_time():
    check_pattern("regex", r"(a+)+$")
    started = time.perf_counter()
    assert last_match("a" * 20_000 + "b", r"(a+)+$") is None
    assert time.perf_counter() - started < 5  # Python's own engine would take longer than the universe has lasted
