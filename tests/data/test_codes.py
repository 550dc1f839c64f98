"""Codes as data sets hold them: a flag is a bit, so its place may never change."""

from llmdemo.data import codes

STORED = (
    *("duplicate", "leak", "prompt_too_long", "template_refused", "response_cut", "conflicting_answers"),
    *("near_duplicate", "cut_turns", "control_characters", "encoding_damage", "html", "very_long", "special_tokens"),
    *("secret", "email", "not_text", "alternatives", "answer_hidden", "undesired"),
)


def test_flags_keep_the_bits_that_stored_data_sets_hold():
    """A new flag comes at the end, here too: one in the middle would change what is said of every data set on a disk."""
    assert tuple(flag[0] for flag in codes._FLAGS)[: len(STORED)] == STORED
    assert len(codes._FLAGS) == len(STORED)
