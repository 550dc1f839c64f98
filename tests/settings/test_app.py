from dataclasses import fields
from pathlib import Path

import pytest

from llmdemo.core.errors import UserError
from llmdemo.settings import Settings


def test_without_an_environment_every_field_has_its_default():
    settings = Settings.from_env({})
    assert settings.home.is_absolute() and settings.home.name == "llmdemo"
    assert settings == Settings(home=settings.home)


def test_every_number_can_be_set_from_the_environment():
    names = [field.name for field in fields(Settings) if isinstance(field.default, int | float)]
    assert {"max_upload_bytes", "min_free_bytes", "runs_at_once", "stop_grace_seconds"} <= set(names)
    settings = Settings.from_env({f"LLMDEMO_{name.upper()}": "7" for name in names})
    assert all(getattr(settings, name) == 7 for name in names)
    assert all(
        type(getattr(settings, field.name)) is type(field.default) for field in fields(Settings) if field.name in names
    )


def test_the_home_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Settings.from_env({"LLMDEMO_HOME": "here"}).home == tmp_path.resolve() / "here"
    assert Settings.from_env({"LLMDEMO_HOME": "~/x"}).home == Path.home().resolve() / "x"


@pytest.mark.parametrize("value", ["many", "-1", "nan", "inf", "1e400", "2.5", "99999999999999999999"])
def test_a_value_that_is_no_sensible_number_is_named(value):
    with pytest.raises(UserError, match="LLMDEMO_MAX_ROWS") as caught:
        Settings.from_env({"LLMDEMO_MAX_ROWS": value})
    assert value in caught.value.message and caught.value.hint


def test_an_empty_value_means_the_default():
    assert Settings.from_env({"LLMDEMO_MAX_ROWS": ""}).max_rows == Settings(home=Path("/x")).max_rows


def test_model_roots_are_separated_as_in_path(tmp_path):
    text = f"{tmp_path}/a:~/b:"
    assert Settings.from_env({"LLMDEMO_MODEL_ROOTS": text}).model_roots == (tmp_path / "a", Path.home().resolve() / "b")
    assert Settings.from_env({}).model_roots == ()


def test_a_guests_limits_are_the_tighter_ones_and_know_their_variables():
    app = Settings(home=Path("/x"), max_beams=4, guest_beams=8)
    guests = app.for_guests()
    assert (guests.max_beams, guests.max_new_tokens, guests.home) == (4, app.guest_new_tokens, app.home)
    assert guests.variable("max_beams") == app.variable("max_beams") == "LLMDEMO_MAX_BEAMS"
    assert guests.variable("max_new_tokens") == "LLMDEMO_GUEST_NEW_TOKENS"
    assert guests.variable("max_lanes") == "LLMDEMO_MAX_LANES"


def test_own_names_stand_between_commas_and_must_be_names():
    assert Settings.from_env({"LLMDEMO_HOSTS": "demo.example, Lab.local"}).hosts == ("demo.example", "Lab.local")
    with pytest.raises(UserError, match="LLMDEMO_HOSTS"):
        Settings.from_env({"LLMDEMO_HOSTS": "http://demo.example/"})
