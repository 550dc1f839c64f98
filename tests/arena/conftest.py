"""An Arena over a home folder whose two models are tiny Llamas."""

import shutil

import pytest

from tests.conftest import make_llama


@pytest.fixture
def arena(home, settings, starter):
    """An Arena that knows the tiny model as "starter" and, with other weights, as a finished run."""
    from llmdemo.arena import Arena

    return Arena(home, settings)


@pytest.fixture
def second_model(home, tiny_model_folder, tiny_tokenizer) -> str:
    """The id of a model with the same tokenizer and other weights."""
    folder = home.runs / "run-20260101-000000-abcdef" / "model"
    shutil.copytree(tiny_model_folder, folder)
    make_llama(len(tiny_tokenizer), seed=1).save_pretrained(folder)
    return "run-20260101-000000-abcdef"


@pytest.fixture
def kept_steps(home, second_model) -> str:
    """The id of a run whose kept step 0 has the starter's weights and step 4 the finished model's."""
    from safetensors.torch import load_file, save_file

    from llmdemo.core import store
    from llmdemo.models import steps

    folder = home.runs / second_model / steps.FOLDER
    folder.mkdir()
    for file, model in ((steps.START, home.models / "starter"), (steps.file_of(4), home.runs / second_model / "model")):
        save_file(load_file(model / "model.safetensors"), folder / file)
    store.write_json(folder / steps.INDEX, {"steps": [0, 4], "every": 4, "asked": 4})
    return second_model
