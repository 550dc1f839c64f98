from llmdemo.errors import UserError


def test_an_error_says_what_was_got_and_what_to_do():
    error = UserError("The rank is 0.", "Choose 1 or more.")
    assert (error.message, error.hint, str(error)) == (
        "The rank is 0.",
        "Choose 1 or more.",
        "The rank is 0. Choose 1 or more.",
    )


def test_the_hint_may_be_missing():
    assert str(UserError("It is full.")) == "It is full."
