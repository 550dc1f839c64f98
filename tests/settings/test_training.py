import math
import re
from dataclasses import fields
from pathlib import Path

import pytest

import llmdemo
from llmdemo.core.errors import UserError
from llmdemo.models import scratch
from llmdemo.models.catalog import ModelEntry
from llmdemo.settings.training import METHODS, TASK_DEFAULTS, TASKS
from llmdemo.training import TrainConfig
from llmdemo.training.checks import check_task


def test_each_setting_is_read_by_code_that_is_not_a_schema():
    root = Path(llmdemo.__file__).parent
    code = "\n".join(path.read_text("utf-8") for path in root.rglob("*.py") if "settings" not in path.parts)
    assert [field.name for field in fields(TrainConfig) if not re.search(rf"\b{field.name}\b", code)] == []


def test_a_data_set_is_all_that_must_be_given():
    config = TrainConfig.from_dict({"dataset_id": "data-1"}).resolved()
    assert config.method == "galore" and config.learning_rate > 0 and config.max_steps > 0


def test_a_config_survives_its_own_json():
    config = TrainConfig.from_dict({"dataset_id": "d", "target_modules": ["q_proj"], "learning_rate": 1e-4})
    assert TrainConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_each_task_and_method_have_a_learning_rate_of_their_own(method, task):
    if (task, method) == ("pretrain", "lora"):
        return  # refused: a new model has no weights that adapters could stand beside
    assert TrainConfig.from_dict({"dataset_id": "d", "method": method, "task": task}).resolved().learning_rate > 0


def test_adamws_rate_of_a_new_model_goes_down_with_its_width_and_galores_stays():
    for size in scratch.SIZES:
        config = {"dataset_id": "d", "task": "pretrain", "model_size": size}
        width = scratch.config_of(size, 2048, 128)["hidden_size"]
        rate = TrainConfig.from_dict({**config, "method": "adamw"}).resolved().learning_rate
        assert rate == pytest.approx(1e-3 * 512 / width, rel=0.02)
        assert TrainConfig.from_dict({**config, "method": "galore"}).resolved().learning_rate == 0.01
        given = {**config, "method": "adamw", "learning_rate": 5e-3}
        assert TrainConfig.from_dict(given).resolved().learning_rate == 5e-3


def test_a_task_has_defaults_of_its_own_which_what_is_given_goes_before():
    classify = TrainConfig.from_dict({"dataset_id": "d", "task": "classify", "max_length": 64})
    assert classify.batch_size == TASK_DEFAULTS["classify"]["batch_size"] and classify.max_length == 64
    assert TrainConfig.from_dict({"dataset_id": "d", "task": "text"}).packing
    chat = TrainConfig.from_dict({"dataset_id": "d"})
    assert chat == TrainConfig("d") and not chat.packing


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "dataset_id"),
        ({"dataset_id": 3}, "dataset_id"),
        ({"dataset_id": "d", "rnk": 3}, "no key 'rnk'"),
        ({"dataset_id": "d", "rank": 0}, "rank is 0. It must be a whole number from 1 to 16,384"),
        ({"dataset_id": "d", "rank": 2.5}, "rank is 2.5. It must be a whole number"),
        ({"dataset_id": "d", "rank": True}, "whole number"),
        ({"dataset_id": "d", "rank": "many"}, "whole number"),
        ({"dataset_id": "d", "update_proj_gap": 0}, "update_proj_gap is 0"),
        ({"dataset_id": "d", "learning_rate": math.nan}, "learning_rate"),
        ({"dataset_id": "d", "learning_rate": math.inf}, "learning_rate"),
        ({"dataset_id": "d", "method": "sgd"}, "one of: 'galore', 'adamw', 'lora'"),
        ({"dataset_id": "d", "optim_bits": 4}, "one of: 32, 8"),
        ({"dataset_id": "d", "method": "lora", "optim_bits": 8}, "LoRA"),
        ({"dataset_id": "d", "galore_optimizer": "adafactor", "optim_bits": 8}, "Adafactor"),
        ({"dataset_id": "d", "target_modules": "q_proj"}, "list"),
        ({"dataset_id": "d", "name": "x" * 200}, "at most 120 characters"),
        ({"dataset_id": "d", "batch_size": 10**9}, "batch_size"),
        ({"dataset_id": "d", "task": "sing"}, "one of: 'chat', 'text', 'classify', 'preference'"),
        ({"dataset_id": "d", "replay_share": 0.95}, "replay_share is 0.95. It must be a number from 0 to 0.9"),
        ({"dataset_id": "d", "replay_share": 0.2}, "replay_dataset_id"),
        ({"dataset_id": "d", "preference_loss": "ipo", "label_smoothing": 0.1}, "IPO has no label smoothing"),
        ({"dataset_id": "d", "beta": 0}, "beta is 0"),
    ],
)
def test_a_wrong_value_is_refused_with_the_key_and_what_is_valid(values, words):
    with pytest.raises(UserError) as refused:
        TrainConfig.from_dict(values)
    assert words in str(refused.value)


def test_what_is_no_object_is_refused():
    with pytest.raises(UserError, match="not an object"):
        TrainConfig.from_dict(["dataset_id"])


def test_a_whole_float_passes_as_an_integer():
    assert TrainConfig.from_dict({"dataset_id": "d", "rank": 16.0}).rank == 16


@pytest.mark.parametrize(("head", "task", "works"), [
    ("chat", "preference", True), ("encode", "classify", True), ("classify", "classify", True), ("chat", "classify", True),
    ("encode", "chat", False), ("classify", "text", False),
])  # fmt: skip
def test_only_a_model_that_writes_learns_to_write(head, task, works):
    entry = ModelEntry("m", "M", "folder", None, task=head)
    config = TrainConfig.from_dict({"dataset_id": "d", "task": task})
    if works:
        check_task(config, entry)
    else:
        with pytest.raises(UserError, match="needs a model that writes"):
            check_task(config, entry)


def test_the_default_scale_and_schedule_are_the_methods_own_and_what_is_given_goes_before():
    assert (TrainConfig("d").resolved().scale, TrainConfig("d").resolved().schedule) == (4.0, "warmup_stable_decay")
    assert TrainConfig("d", method="lora").resolved().scale == 1.0, "LoRA's scale is alpha / rank"
    assert TrainConfig("d", method="adamw").resolved().schedule == "linear"
    given = TrainConfig.from_dict({"dataset_id": "d", "scale": 0.25, "schedule": "cosine"}).resolved()
    assert (given.scale, given.schedule) == (0.25, "cosine")


@pytest.mark.parametrize(("loss", "beta"), [("orpo", 0.1), ("simpo", 2.0)])
def test_a_loss_may_be_given_as_the_task(loss, beta):
    config = TrainConfig.from_dict({"dataset_id": "x", "task": loss})
    assert (config.task, config.preference_loss, config.beta) == ("preference", loss, beta)
    assert config == TrainConfig.from_dict({"dataset_id": "x", "task": "preference", "preference_loss": loss})
    assert TrainConfig.from_dict({"dataset_id": "x", "task": loss, "beta": 0.3}).beta == 0.3
    with pytest.raises(UserError, match="Give one of both"):
        TrainConfig.from_dict({"dataset_id": "x", "task": loss, "preference_loss": "dpo"})
