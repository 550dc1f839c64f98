"""A run's kept steps are models of an evaluation as any other, one beside another."""

import pytest
from safetensors.torch import load_file, save_file

from llmdemo.core import store
from llmdemo.models import steps
from tests.evaluation.conftest import SECOND
from tests.waiting import over


@pytest.fixture
def run_with_steps(home, models):
    """The id of a run whose step 0 is the starter and whose step 4 is its finished model."""
    folder = home.runs / SECOND / steps.FOLDER
    folder.mkdir()
    for step, model in ((steps.START, home.models / "starter"), (steps.file_of(4), home.runs / SECOND / "model")):
        save_file(load_file(model / "model.safetensors"), folder / step)
    store.write_json(folder / steps.INDEX, {"steps": [0, 4], "every": 4, "asked": 4})
    return SECOND


def test_two_steps_of_a_run_are_compared_as_their_models_are(evaluations, add, run_with_steps):
    texts = add([{"text": f"The cat sees {n} dogs and the dog sees {n + 1} cats."} for n in range(30)])

    def figures(*model_ids):
        status = over(
            evaluations, evaluations.start({"dataset_id": texts.dataset_id, "model_ids": list(model_ids), "limit": 4})
        )
        assert status["state"] == "completed", status
        result = evaluations.result(status["evaluation_id"])
        return [model["id"] for model in result["models"]], result["figures"]

    names, of_steps = figures(f"{run_with_steps}@0", f"{run_with_steps}@4")
    assert names == [f"{run_with_steps}@0", f"{run_with_steps}@4"]
    assert of_steps == figures("starter", run_with_steps)[1]
