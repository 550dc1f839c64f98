"""The job's work, on a tiny model: points, clusters, neighbours; a stop at any place, and a resume."""

import numpy as np
import pytest

from llmdemo.jobs import Jobs
from llmdemo.maps import Maps, embed, layout, worker


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(worker, "CHUNK", 16)


@pytest.fixture
def maps(home, settings):
    with Maps(Jobs(home, settings)) as service:
        yield service


@pytest.mark.slow
def test_a_map_has_points_clusters_and_neighbours(home, settings, starter, two_kinds, job, done):
    folder = job(dataset_id=two_kinds, clusters=2, losses=True, after_id="starter", duplicates=0.5)
    assert done(folder)["state"] == "completed"
    with Maps(Jobs(home, settings)) as maps:
        found = maps.whole(folder.path.name)
        shown = maps.points(folder.path.name)
        assert maps.newest(two_kinds) == folder.path.name
    assert len(found["points"]) == len(found["neighbours"]) == found["records"] == 40
    assert [each["size"] for each in found["clusters"]] == [20, 20]
    assert {"add", "capital"} <= {term for each in found["clusters"] for term in each["terms"]}
    assert found["duplicates_total"] and len(found["neighbours"][0]) == 5
    first = found["points"][0]
    assert first["loss"] == first["loss_after"] > 0 and first["ifd"] > 0
    assert sum(point["held_out"] for point in found["points"]) == 4, "as a run with the defaults holds out"
    assert shown["places"] and shown["change"] and not list(folder.path.glob("*.rows"))


@pytest.mark.slow
def test_a_stop_keeps_what_was_read_and_a_resume_makes_the_same_map(home, starter, two_kinds, job, done, monkeypatch):
    folder = job(dataset_id=two_kinds)
    whole, asked = embed.Embedder.vectors, []

    def stopping(self, texts):
        asked.append(len(texts))
        if len(asked) == 2:
            folder.stop.touch()
            raise worker.Worker(folder).check() or KeyboardInterrupt
        return whole(self, texts)

    monkeypatch.setattr(embed.Embedder, "vectors", stopping)
    assert done(folder)["state"] == "stopped"
    folder.stop.unlink()
    with open(folder.path / "vectors.rows", "ab") as file:
        file.write(b"half")  # what a kill has left of a row
    monkeypatch.setattr(
        embed.Embedder, "vectors", lambda self, texts: (asked.append(len(texts)), whole(self, texts))[1]
    )
    assert done(folder)["state"] == "completed"
    assert asked == [16, 16, 16, 8], "the first chunk was not read again"
    stopped = np.load(folder.path / worker.POINTS)["places"]
    (folder.path / worker.RESULT).unlink()
    assert done(folder)["state"] == "completed"
    assert np.array_equal(stopped, np.load(folder.path / worker.POINTS)["places"])


def test_records_that_are_all_alike_end_in_a_sentence(home, starter, two_kinds, job, done, monkeypatch):
    monkeypatch.setattr(worker, "text_of", lambda record: "always the same")
    end = done(job(dataset_id=two_kinds))
    assert end["state"] == "failed" and "alike" in end["message"] and end["hint"]


def test_states_that_float16_cannot_hold_do_not_end_a_map(starter, two_kinds, job, done, monkeypatch):
    whole = embed.Embedder.vectors

    def massive(self, texts):
        vectors = whole(self, texts).clone()
        vectors[::2, 0] = 1e6
        return vectors

    monkeypatch.setattr(embed.Embedder, "vectors", massive)
    monkeypatch.setattr(layout, "placed", lambda found, cosines, plane, seed, tell: plane)
    assert done(job(dataset_id=two_kinds))["state"] == "completed"
