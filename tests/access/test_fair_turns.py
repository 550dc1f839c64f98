"""Turns go round the visitors."""

from hypothesis import given
from hypothesis import strategies as st

from llmdemo.access.fair_turns import fair_order


def order(text: str, busy: str = "", served=None) -> str:
    """Items are a visitor's letter and a number: "a1"."""
    return " ".join(fair_order(text.split(), lambda item: item[0], busy, served))


def order_with_addresses(items: list[str], busy: list[str] = ()) -> list[str]:
    """Items are an address and a visitor: "nat/ann"; without an address "/ann"."""
    return fair_order(
        items, lambda item: item, busy, None, lambda item: item.split("/")[0], [item.split("/")[0] for item in busy]
    )


def test_a_heavy_visitor_comes_once_a_round():
    assert order("a1 a2 a3 a4 b1 c1 b2") == "a1 b1 c1 a2 b2 a3 a4"


def test_who_is_being_served_has_had_the_first_round():
    assert order("a1 b1", busy="a") == "b1 a1"
    assert order("a1 b1 b2", busy="aa") == "b1 b2 a1"


def test_within_a_round_who_was_served_longest_ago_comes_first():
    assert order("a1 b1 c1", served={"a": 9.0, "b": 5.0}) == "c1 b1 a1"


def test_a_script_with_fifty_cookies_has_ten_turns_before_somebody_elses_first():
    script = [f"script/{number:02}" for number in range(50)]
    assert order_with_addresses([*script, "home/ann"]).index("home/ann") == 10
    busy = [f"script/x{number}" for number in range(4)]
    assert order_with_addresses([*script, "home/ann"], busy).index("home/ann") == 6


def test_a_class_behind_one_address_has_turns_as_ever_and_a_heavy_pupil_does_not_use_them_up():
    pupils = [f"school/{number:02}" for number in range(40)]
    assert order_with_addresses(pupils) == pupils
    assert order_with_addresses(["school/00"] * 20 + pupils[1:])[:40] == pupils
    assert order_with_addresses([*pupils, "home/ann", "cafe/bob"])[-28:] == pupils[12:]


def test_who_has_no_address_that_counts_is_a_visitor_like_another():
    owners = [f"/{number:02}" for number in range(30)]
    assert order_with_addresses([*owners, "home/ann"])[-1] == "home/ann"


@given(st.lists(st.sampled_from("abcd"), max_size=60), st.text("abcd", max_size=4))
def test_nothing_is_lost_and_nobody_overtakes_themselves(letters, busy):
    items = [f"{letter}{number:03}" for number, letter in enumerate(letters)]
    ordered = fair_order(items, lambda item: item[0], busy)
    assert sorted(ordered) == sorted(items)
    for letter in set(letters):
        own = [item for item in ordered if item[0] == letter]
        assert own == sorted(own)
    firsts = {letter: next(i for i, item in enumerate(ordered) if item[0] == letter) for letter in set(letters)}
    assert all(place < len(firsts) for letter, place in firsts.items() if not busy)
