"""The sample data that ships with the app. Knows no widget."""

import threading
from typing import Any

from llmdemo import data
from llmdemo.ui.services import ASSETS, Services

SAMPLE_NAME = "Messages to JSON (sample)"
SAMPLE_ID = "sample"
"""Stands for the sample data where a data set is asked for: it is added then."""
_ADDING = threading.Lock()
"""Who asks for it while it is being added gets that one, not another."""


def sample_path():
    """assets/sample-messages.json."""
    return ASSETS / "sample-messages.json"


def is_sample(info: data.DatasetInfo) -> bool:
    """Whether this is the sample, as it was added."""
    return info.name == SAMPLE_NAME and info.source.get("file") == sample_path().name


def starter_tokenizer(services: Services, task: str = ""):
    """The starter's tokenizer, as it reads records of this task; None while the model is still on its way."""
    if services.starter.progress()["state"] != "ready":
        return None
    return services.tokenizers.get("starter", classifies=task == "classify")


def tokenizer_of_ids(services: Services, model_id: str) -> data.MadeWith | None:
    """The tokenizer that a data set of token ids was made with; None for no model. Raises UserError."""
    return data.MadeWith(model_id, services.tokenizers.get(model_id)) if model_id else None


def add_sample(services: Services, progress=None, should_stop=None):
    """Adds the sample as a data set, or gives the one that was added before; returns its DatasetInfo."""
    with _ADDING:
        for info in data.list_datasets(services.home):
            if is_sample(info):
                return info
        return data.add_dataset(
            services.home,
            services.settings,
            sample_path(),
            SAMPLE_NAME,
            tokenizer=starter_tokenizer(services),
            progress=progress,
            should_stop=should_stop,
        )


def with_sample(services: Services, config: Any) -> Any:
    """The settings of a run as they were given; of SAMPLE_ID, the sample's data set, which is added first."""
    if isinstance(config, dict) and config.get("dataset_id") == SAMPLE_ID:
        return {**config, "dataset_id": add_sample(services).dataset_id}
    return config
