"""The routes of served models over an arena whose starter is a tiny Llama, without the page before them."""

import shutil

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from llmdemo.serving import Serving
from llmdemo.serving.routes import routes
from tests.conftest import own_model


class NoClassifiers:
    """In the place of the classifiers' service, where no classifier is served."""

    def classify(self, model_id, texts):
        raise AssertionError("nothing here classifies")


@pytest.fixture
def arena(home, settings, tiny_model_folder):
    """An Arena that knows the tiny model as "starter"."""
    from llmdemo.arena import Arena

    own_model(shutil.copytree(tiny_model_folder, home.models / "starter"), home)
    return Arena(home, settings)


@pytest.fixture
def serving(home, settings, arena):
    made = Serving(home, settings, lambda: arena, NoClassifiers)
    made.serve("starter", "tiny")
    made.join()
    yield made
    made.join()


@pytest.fixture
def key(serving) -> str:
    return serving.create_key("test", [], 1_000_000, False)["key"]


@pytest.fixture
def web(serving, key):
    """A client with the key; its errors are the server's answers."""
    app = Starlette(routes=routes(serving))
    with TestClient(app, headers={"authorization": f"Bearer {key}"}, raise_server_exceptions=False) as client:
        yield client
