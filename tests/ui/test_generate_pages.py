"""What the data panel asks when a model makes data, with a tiny model and the real worker."""

from typing import get_args

import pytest
from gradio_client import Client

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.generation.kinds import KINDS
from llmdemo.settings.generation import GenerationKind
from llmdemo.ui.generate_pages import GeneratePages
from tests.waiting import until


@pytest.fixture
def pages(services):
    return GeneratePages(services)


def test_the_form_offers_models_that_write_and_the_defaults(pages):
    choices = pages.choices({})
    assert [model["id"] for model in choices["models"]][0] == "starter"
    assert choices["defaults"]["number"] == 200 and choices["most"] == 100_000
    assert choices["kinds"]["pairs"] == {"reads": ["chat", "preference"], "invents": True, "judged": True}


def test_every_kind_of_records_is_named_in_the_settings_and_defined_in_the_registry():
    assert set(KINDS) == set(get_args(GenerationKind))


def test_what_cannot_be_is_a_sentence(pages):
    with pytest.raises(UserError, match="number"):
        pages.start({"spec": {"model_id": "starter", "number": 0}})


def test_how_long_it_will_take_is_foretold_but_of_an_endpoint(pages):
    told = pages.forecast({"spec": {"number": 5_000}})
    assert 0 < told["seconds_low"] < told["seconds_high"] and told["rough"]
    assert pages.forecast({"spec": {"url": "http://localhost:1/v1", "model": "m"}}) == {}
    with pytest.raises(UserError, match="nobody"):
        pages.forecast({"spec": {"model_id": "nobody"}})


@pytest.mark.slow
def test_a_stopped_making_of_data_is_shown_goes_on_and_is_removed(pages, services, server, real_starts):
    client = Client(server, verbose=False)
    settings = {"max_prompt_tokens": 24, "max_new_tokens": 16, "temperature": 0.7}
    job_id = client.predict("starter", "magpie", 5_000, settings, api_name="/generate_dataset")["job_id"]
    until(lambda: pages.jobs({})["jobs"][0]["progress"]["made"] is not None, 120)
    assert pages.stop({"job_id": job_id})["state"] in ("stopping", "stopped", "failed")
    until(lambda: pages.jobs({})["jobs"][0]["state"] in ("stopped", "failed"), 60)
    shown = client.predict(job_id, api_name="/generation_status")
    if shown["dataset_id"]:
        assert data.get_dataset(services.home, shown["dataset_id"]).task == "chat"
    pages.remove({"job_id": job_id})
    assert all(job["job_id"] != job_id for job in pages.jobs({})["jobs"])
