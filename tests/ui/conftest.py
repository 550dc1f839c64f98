"""A live server over a tiny model, in this process: what gradio_client and the panels' functions are tested against."""

import shutil
from types import SimpleNamespace

import pytest

from llmdemo.core.store import Home
from llmdemo.settings import Settings
from llmdemo.ui.app import build, launch_options
from llmdemo.ui.services import make_services
from tests.conftest import own_model
from tests.jobs.conftest import bench

__all__ = ["bench"]


def by_name(functions) -> SimpleNamespace:
    """An island's functions as attributes."""
    return SimpleNamespace(**{function.__name__: function for function in functions})


@pytest.fixture(scope="module")
def services(tmp_path_factory, tiny_model_folder):
    """Services on a fresh home folder whose starter model is a tiny random Llama."""
    home = tmp_path_factory.mktemp("ui") / "home"
    own_model(shutil.copytree(tiny_model_folder, home / "models" / "starter"), Home(home))
    made = make_services(Settings(home=home, min_free_bytes=0))
    yield made
    made.serving.join()
    made.runs.close()


@pytest.fixture(scope="module")
def server(services):
    """The address of the page and its endpoints."""
    page = build(services)
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(services))
    yield url
    page.close(verbose=False)
