"""Small data sets with a held-out part, two tiny models, a tiny classifier, and an endpoint that plays a judge."""

import inspect
import json
import shutil
import threading

import pytest

from llmdemo import data
from llmdemo.evaluation.folder import EvaluationFolder, evaluations_folder
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.worker import work
from llmdemo.settings.judge import JudgeSpec
from tests.conftest import own_model
from tests.local_server import LocalServer
from tests.workers import in_this_process

SECOND = "run-20260101-000000-abcdef"
CLASSIFIER = "run-20260102-000000-abcdef"


@pytest.fixture
def add(home, settings, tmp_path):
    """add(rows, name) → DatasetInfo of these rows."""

    def add_(rows, name="rows"):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(rows), encoding="utf-8")
        return data.add_dataset(home, settings, path, name)

    return add_


@pytest.fixture
def models(home, starter, tiny_model_folder):
    """("starter", a run's id): the same tokenizer, other weights."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = home.runs / SECOND / "model"
    shutil.copytree(tiny_model_folder, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(5)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return "starter", SECOND


@pytest.fixture
def tiny_classifier(home, tiny_model_folder):
    """The id of a run whose model tells ham from spam, by chance."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = home.runs / CLASSIFIER / "model"
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny_model_folder, id2label={0: "spam", 1: "ham"}, label2id={"spam": 0, "ham": 1}
    )
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    own_model(folder, home)
    return CLASSIFIER


@pytest.fixture
def job(home):
    """An evaluation that is judging."""
    folder = EvaluationFolder(evaluations_folder(home) / "eval-test")
    folder.path.mkdir()
    made = Job(folder)
    made.plan([("judging", "")])
    made.next_phase()
    return made


def at(server, **more) -> JudgeSpec:
    """The endpoint `server` as the judge."""
    return JudgeSpec.from_value({"kind": "endpoint", "url": server.url, "model": "m", "timeout": 5, **more})


class JudgeServer(LocalServer):
    """Answers as `say(body)` says: a text, an int (a status), "hang", bytes (sent as they are), or (status, headers, bytes).

    A generator's pieces are written as they come, with nothing around them: a whole answer, headers and all.
    """

    protocol = "HTTP/1.0"

    def __init__(self):
        self.say = lambda body: "[RESULT] A: 3, B: 3"
        self.asked, self.keys = [], []
        self.release = threading.Event()
        super().__init__()
        self.url += "/v1"

    def answer(self, handler):
        body = json.loads(self.body_of(handler))
        self.asked.append(body)
        self.keys.append(handler.headers.get("Authorization"))
        said = self.say(body)
        if said == "hang":
            self.release.wait(20)
            return
        if inspect.isgenerator(said):
            return self._write(handler, said)
        if isinstance(said, int):
            return self.send(handler, said, b"", {"Location": "http://127.0.0.1:9/"})
        status, headers, content = said if isinstance(said, tuple) else (200, {}, said)
        if isinstance(content, str):
            content = {"choices": [{"message": {"content": content}}]}
        self.send(handler, status, content, headers)

    def _write(self, handler, pieces):
        handler.close_connection = True
        try:
            for piece in pieces:
                handler.wfile.write(piece)
                if self.release.wait(0.02):
                    return
        except OSError:  # the other side has hung up
            return

    def close(self):
        self.release.set()
        super().close()


@pytest.fixture
def judge_server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = JudgeServer()
    yield server
    server.close()


@pytest.fixture
def work_here(home):
    return in_this_process(work, home)


@pytest.fixture
def evaluations(home, settings, work_here):
    """The service with workers in this process."""
    from llmdemo.evaluation import Evaluations
    from llmdemo.jobs import Jobs

    with Evaluations(Jobs(home, settings, work_here)) as service:
        yield service
