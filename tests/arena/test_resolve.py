"""Draft models, guidance and DRY through a whole comparison: what the settings mean for a tokenizer, and what is refused."""

import shutil

import pytest

from llmdemo.arena.prompt import Prompt
from llmdemo.arena.resolve import breakers_of, negative_ids
from llmdemo.core.errors import UserError
from tests.conftest import make_llama, make_tokenizer

SETTINGS = {"max_new_tokens": 16, "precision": "fp32"}


def compared(arena, **settings):
    *_, final = arena.compare("starter", "Hello", {**SETTINGS, **settings})
    return final


def test_a_draft_model_of_the_menu_drafts_and_the_text_is_greedys(arena, second_model):
    for drafter in (second_model, "starter"):
        final = compared(arena, lanes=["greedy", "speculative"], assistant_model_id=drafter)
        lanes = final["lanes"]
        assert lanes["speculative"]["token_ids"] == lanes["greedy"]["token_ids"]
        assert final["settings"]["lanes"][1]["assistant_model_id"] == drafter


def test_a_draft_model_with_another_vocabulary_is_refused_and_so_is_one_that_is_not_in_the_menu(arena, home):
    folder = home.runs / "run-20260101-000000-fedcba" / "model"
    tokenizer = make_tokenizer(300)
    make_llama(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for drafter, said in (("run-20260101-000000-fedcba", "different vocabularies"), ("../etc", "no such model")):
        with pytest.raises(UserError, match=said):
            compared(arena, lanes=["speculative"], assistant_model_id=drafter)
    shutil.rmtree(folder)


def test_the_negative_prompt_stands_in_the_place_of_the_system_prompt(tiny_tokenizer):
    turns = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"})
    text = tiny_tokenizer.decode(negative_ids("Be rude.", tiny_tokenizer, Prompt(messages=turns)))
    assert "Be rude." in text and "Hello" in text and "Be kind." not in text
    assert tiny_tokenizer.decode(negative_ids("No.", tiny_tokenizer, Prompt(raw="Once"))) == "No."


@pytest.mark.parametrize("negative", ["", "What is the capital of France?"])
def test_a_copied_script_with_guidance_says_what_the_lane_says(arena, negative):
    settings = {**SETTINGS, "lanes": ["greedy"], "guidance_scale": 1.5, "negative_prompt": negative}
    text = compared(arena, **settings)["lanes"]["greedy"]["text"]
    names: dict = {}
    exec(arena.python(arena.request("starter", "Hello", settings)), names)  # noqa: S102 - it is our own text
    length = names["inputs"]["input_ids"].shape[1]
    said = names["tokenizer"].decode(names["output"][0, length:], skip_special_tokens=True)
    assert said.rstrip("\ufffd") == text


def test_dry_makes_a_text_that_loops_stop_it_and_knows_its_breakers(arena, tiny_tokenizer):
    plain = compared(arena, lanes=["greedy"], max_new_tokens=60)["lanes"]["greedy"]
    held = compared(arena, lanes=["greedy"], max_new_tokens=60, dry_multiplier=2.0)["lanes"]["greedy"]
    assert held["metrics"]["distinct_2"] > plain["metrics"]["distinct_2"]
    breakers = {tiny_tokenizer.decode([token]) for token in breakers_of(("\n", ":", ""), tiny_tokenizer)}
    assert breakers == {"\n", ":"}
