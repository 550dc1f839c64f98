"""Figures over time: cells add up, percentiles are near numpy's, nothing is lost by a restart, a full disk or a clock."""

import sqlite3

import numpy as np
import pytest

from llmdemo.serving import cells, timeline
from llmdemo.serving.metrics import Metrics
from llmdemo.serving.timeline import HOUR, STEP, Timeline

NOW = 1_800_000_000.0


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def line(tmp_path, clock):
    return Timeline(tmp_path / "serving" / "monitor.sqlite", clock)


def one(outcome="answered", **more):
    return {"outcomes": {outcome: 1}, "tokens": 5, **more}


def requests(found) -> int:
    return sum(point["requests"] for points in found.values() for point in points)


def merged(parts) -> cells.Cell:
    """One cell of several."""
    whole: cells.Cell = {}
    for part in parts:
        cells.add(whole, part)
    return whole


def test_percentiles_of_merged_cells_are_within_six_per_cent_of_numpys():
    values = np.random.default_rng(0).exponential(0.3, size=900)
    parts = [{"first": {}} for _ in range(3)]
    for number, value in enumerate(values):
        cells.add(parts[number % 3], {"first": {cells.bin_of(value): 1}})
    found = cells.told(merged(parts))["first"]
    exact = np.percentile(values, [50, 95, 99], method="inverted_cdf")
    assert list(found.values()) == pytest.approx(exact.tolist(), rel=0.06)
    assert cells.percentiles({}) is None


def test_the_queue_is_the_longest_and_names_beyond_the_bound_are_one():
    whole = merged([{"queued": 3}, {"queued": 1}, *({"classes": {f"c{n}": 1}} for n in range(60))])
    assert whole["queued"] == 3 and len(whole["classes"]) == cells.MOST_NAMES + 1
    assert whole["classes"][cells.OTHER] == 60 - cells.MOST_NAMES


def test_figures_are_by_version_and_time_and_survive_a_restart(line, clock, tmp_path):
    line.add("mine", "run-a", one(length=5, answers=1, surprise=2.0, surprises=1))
    clock.now += 2 * STEP
    line.add("mine", "run-a", one("refused", languages={"en": 3, "de": 1}))
    line.add("mine", "run-b", one())
    line.flush()
    line.add("mine", "run-b", one())  # not written yet
    found = line.points(NOW - HOUR)
    assert [point["requests"] for point in found["mine", "run-a"]] == [1, 1]
    assert found["mine", "run-a"][0]["surprise"] == 2.0 and found["mine", "run-a"][0]["length"] == 5
    assert found["mine", "run-a"][1]["languages"] == {"en": 0.75, "de": 0.25}
    assert found["mine", "run-b"][0]["outcomes"] == {"answered": 2}
    line.flush()
    assert Timeline(tmp_path / "serving" / "monitor.sqlite", clock).points(NOW - HOUR) == found
    assert line.points(NOW + HOUR) == {}


def test_two_apps_on_one_home_add_to_the_same_cell(line, clock, tmp_path):
    other = Timeline(tmp_path / "serving" / "monitor.sqlite", clock)
    for each in (line, other, line):
        each.add("mine", "run-a", one())
        each.flush()
    assert requests(other.points(0)) == 3


def test_what_is_said_anew_later_counts_then_and_no_longer_where_it_was_said_first(line, clock):
    metrics = Metrics(lambda: 0, lambda: 0, line)
    metrics.labelled("sorts", "run-1", False)
    metrics.opinion("sorts", "run-1", "up")
    first, clock.now = clock.now, NOW + 2 * STEP
    metrics.labelled("sorts", "run-1", True)
    metrics.labelled("sorts", "run-1", True, before=False, at=first)
    metrics.opinion("sorts", "run-1", "down", "up", first)
    line.flush()
    points = line.points(0)["sorts", "run-1"]
    assert [(point["right"], point["labelled"]) for point in points] == [(0, 0), (2, 2)]
    assert [(point["up"], point["down"]) for point in points] == [(0, 0), (0, 1)]
    odd = cells.told({"right": 3, "labelled": 2}), cells.told({"right": 1, "labelled": -1})
    assert [(each["right"], each["labelled"]) for each in odd] == [(2, 2), (0, 0)], "never more than there are"


def test_old_cells_become_hours_and_nothing_is_lost(line, clock):
    for _ in range(24):
        line.add("mine", "run-a", one())
        clock.now += STEP
    line.flush()
    clock.now += 3 * 86_400
    line._merged_at = 0.0  # the next hour has come
    line.add("mine", "run-a", one())
    line.flush()
    with sqlite3.connect(line._file) as db:
        times = [row[0] for row in db.execute("SELECT at FROM cells ORDER BY at")]
    assert len(times) <= 4 and all(at % HOUR == 0 for at in times[:-1])
    assert requests(line.points(0)) == 25
    assert len(line.points(0)["mine", "run-a"]) <= timeline.MOST_POINTS


def test_the_file_is_bounded_and_the_oldest_go(line, clock, monkeypatch):
    monkeypatch.setattr(timeline, "MOST_CELLS", 10)
    for number in range(30):
        line.add("mine", f"run-{number}", one())
        clock.now += STEP
        line.flush()
    assert set(line.points(0)) == {("mine", f"run-{number}") for number in range(20, 30)}


def test_a_full_disk_loses_nothing_while_the_app_runs_and_says_so_once(line, monkeypatch, caplog):
    def full(taken):
        raise sqlite3.OperationalError("database or disk is full")

    write = line._write
    monkeypatch.setattr(line, "_write", full)
    for _ in range(3):
        line.add("mine", "run-a", one())
        line.flush()
    assert requests(line.points(0)) == 3 and caplog.text.count("disk is full") == 1
    monkeypatch.setattr(line, "_write", write)
    line.flush()
    assert not line._new and requests(line.points(0)) == 3


def test_a_clock_that_is_set_back_loses_nothing(line, clock):
    line.add("mine", "run-a", one())
    line.flush()
    clock.now -= 86_400
    line.add("mine", "run-a", one())
    line.flush()
    assert requests(line.points(0, NOW + 1)) == 2
