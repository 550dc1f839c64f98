import pytest

from llmdemo.core.errors import UserError
from llmdemo.runs.sanitise import believed, settings

HONEST = {
    "dataset_id": "data-1",
    "model_id": "starter",
    "method": "galore",
    "rank": 128,
    "learning_rate": 4e-5,
    "packing": False,
    "target_modules": ["q_proj"],
    "log_with": None,
    "dataset": {"id": "data-1", "name": "模型", "content_hash": "abc"},
    "model": {"id": "starter", "title": "SmolLM2", "revision": ""},
    "group": {"id": "exp-1", "kind": "race", "label": "a", "member": 0},
    "versions": {"torch": "2.13"},
}


def test_what_this_app_writes_is_kept_with_the_id_of_here_and_without_paths_of_there():
    config = HONEST | {"model": {**HONEST["model"], "path": "/there"}, "run": {"id": "../x", "name": "R", "created": 1}}
    kept = believed(config, "run-here")
    assert kept.pop("run") == {"id": "run-here", "imported": True, "name": "R", "created": 1.0}
    assert kept == HONEST


def test_settings_as_the_training_knows_them_are_believed():
    from llmdemo.settings.training import TrainConfig

    config = TrainConfig.from_dict({"dataset_id": "d", "target_modules": ["q_proj"]}).to_dict()
    kept = believed(config, "run-here")
    assert {key: kept[key] for key in config} == config


@pytest.mark.parametrize(
    "wrong",
    [
        *({"dataset": value} for value in ("x", 5, [1], None, {"id": {"a": 1}}, {"id": ["x"]})),
        *({"model": value} for value in ([1], "starter", {"id": {}})),
        *({"versions": value} for value in ([], "x", {"torch": {}})),
        *({"group": value} for value in ("x", {"values": [1]})),
        *({"log_with": value} for value in ([1], {}, 5)),
        *({"method": value} for value in (5, ["galore"], {"a": 1}, True)),
        *({"model_id": value} for value in (5, ["/etc"])),
        *({"rank": value} for value in ({"a": 1}, [1, 2], [[1]], 2**60, "x" * 2000, "\ud800")),
        *({key: 1} for key in ("", "A", "a b", "a" * 50, "__class__", "a\n")),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_key(wrong):
    with pytest.raises(UserError) as caught:
        believed(HONEST | wrong, "run-here")
    assert repr(next(iter(wrong)))[:20] in caught.value.message and caught.value.hint


def test_too_many_keys_are_refused():
    with pytest.raises(UserError, match="at most 200"):
        believed({f"key_{index}": index for index in range(201)}, "run-here")


@pytest.mark.parametrize(
    "wrong", [{"dataset": "x"}, {"model": [1]}, {"versions": 5}, {"group": None}, {"rank": {}}, {"name": "x" * 10**5}]
)
def test_settings_that_this_app_never_writes_are_a_sentence_that_names_the_run(wrong):
    with pytest.raises(UserError, match=f"config.json of run-here has '{next(iter(wrong))}'") as caught:
        settings(HONEST | wrong, "run-here")
    assert "Delete it" in caught.value.hint and len(caught.value.message) < 300


def test_settings_are_what_the_config_holds_beside_the_runs_own_part():
    assert settings(HONEST | {"run": {"id": "x"}}, "run-here") == HONEST
