"""The job: what it refuses, what it leaves, a stop and a resume."""

import json

import pytest

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.jobs import Jobs
from llmdemo.knowledge import Probes, ask, worker
from llmdemo.settings.knowledge import ProbeSpec
from tests.workers import last_event, waiting_job


@pytest.fixture
def probes(home, settings):
    with Probes(Jobs(home, settings)) as service:
        yield service


@pytest.fixture
def facts(home, settings, tmp_path):
    rows = [{"instruction": f"Capital of land {n}?", "output": f"Town {n}"} for n in range(20)]
    rows.append({"instruction": "Write a long poem.", "output": "word " * 200})
    (tmp_path / "facts.json").write_text(json.dumps(rows))
    return data.add_dataset(home, settings, tmp_path / "facts.json", "facts").dataset_id


@pytest.mark.parametrize(
    ("values", "words"), [({}, "data set"), ({"prompts": 0}, "prompts"), ({"colour": 1}, "colour")]
)
def test_what_cannot_be_is_refused_with_a_sentence(probes, starter, values, words):
    with pytest.raises(UserError, match=words):
        probes.start(values)


def test_only_conversations_have_questions(probes, starter, home, settings, tmp_path):
    (tmp_path / "a.txt").write_text("A text.\n\nAnother text of a few words.\n")
    info = data.add_dataset(home, settings, tmp_path / "a.txt", "texts")
    with pytest.raises(UserError, match="texts"):
        probes.start({"dataset_id": info.dataset_id})


def test_a_stop_keeps_what_was_asked_and_a_resume_asks_the_rest(home, settings, starter, facts, monkeypatch):
    monkeypatch.setattr(worker, "BATCH", 8)
    monkeypatch.setenv("LLMDEMO_HOME", str(home.root))
    spec = ProbeSpec.from_dict({"dataset_id": facts, "prompts": 1, "samples": 1, "shots": 2})
    folder = waiting_job(home.root / "probes" / "probe-20260101-000000-abcdef", "probe", spec)
    asked = []

    def answered(self, indices, pairs, tell):
        asked.append(len(indices))
        if len(asked) == 2:
            folder.stop.touch()
            raise worker.Worker(folder).check() or KeyboardInterrupt
        return [
            {"index": n, "class": "unknown" if n % 2 else "highly", "greedy": [n % 2 == 0], "sampled": 0, "drawn": 1, "answer": ""}
            for n in indices
        ]  # fmt: skip

    monkeypatch.setattr(ask.Asker, "asked", answered)
    worker.work(folder, home)
    assert last_event(folder)["state"] == "stopped"
    folder.stop.unlink()
    worker.work(folder, home)
    assert asked == [8, 8, 8, 4], "what was asked is not asked again, the long poem not at all"
    with Probes(Jobs(home, settings)) as probes:
        found = probes.result(folder.path.name, folder.path.name)
    assert found["counts"] == {"highly": 10, "maybe": 0, "weakly": 0, "unknown": 10} and found["lost"] == []
    assert len(found["found"]) == found["asked"] == 20 and "epochs" in found["advice"]


def test_data_without_short_answers_ends_in_a_sentence(home, starter, facts, tiny_tokenizer):
    records = data.open_records(home, facts)
    with pytest.raises(UserError, match="1 token"):
        worker.asked_of(records, ProbeSpec.from_dict({"dataset_id": facts, "max_new_tokens": 1}), tiny_tokenizer)
