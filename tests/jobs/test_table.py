import sqlite3
import threading
import time

import pytest

from llmdemo.core.sentences import say
from llmdemo.jobs.states import FAILED, LEGAL, QUEUED, RUNNING, STARTING, STOPPED
from llmdemo.jobs.table import IllegalTransition, Table


@pytest.fixture
def table(tmp_path):
    table = Table(tmp_path / "runs.sqlite")
    yield table
    table.close()


def test_the_queue_keeps_its_order_when_the_clock_goes_back(table, monkeypatch):
    for index in range(5):
        monkeypatch.setattr(time, "time", lambda index=index: 1e9 - 1000 * index)
        table.add(f"run-{index}", "run", "name", time.time(), QUEUED)
    assert [row.job_id for row in table.queue("run")] == [f"run-{index}" for index in range(5)]
    assert [row.job_id for row in table.all("run")] == [f"run-{index}" for index in reversed(range(5))]


def test_only_legal_transitions_happen_and_each_is_recorded(table):
    for before in [state for state in LEGAL if state]:
        for after in [state for state in LEGAL if state]:
            job_id = f"run-{before}-{after}"
            table.add(job_id, "run", "name", 0.0, QUEUED)
            table._db.execute("UPDATE jobs SET state = ? WHERE job_id = ?", (before, job_id))
            if after in LEGAL[before]:
                assert table.move(job_id, after).state == after
            else:
                with pytest.raises(IllegalTransition):
                    table.move(job_id, after)
            expected = after if after in LEGAL[before] else before
            assert table.get(job_id).state == expected
            assert len(table.transitions(job_id)) == 1 + (after in LEGAL[before])


def test_a_run_that_does_not_exist_cannot_move(table):
    with pytest.raises(IllegalTransition):
        table.move("run-0", STARTING)


def test_of_many_that_claim_a_run_at_once_one_gets_it(tmp_path):
    tables = [Table(tmp_path / "runs.sqlite") for _ in range(4)]
    tables[0].add("run-0", "run", "name", 0.0, QUEUED)
    won, barrier = [], threading.Barrier(8)

    def claim(table):
        barrier.wait()
        try:
            table.move("run-0", STARTING)
            won.append(1)
        except IllegalTransition:
            pass

    threads = [threading.Thread(target=claim, args=(tables[index % 4],)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [each["state"] for each in tables[0].transitions("run-0")] == [QUEUED, STARTING]
    for table in tables:
        table.close()


def test_what_fails_inside_a_transaction_leaves_nothing_behind(table):
    with pytest.raises(RuntimeError), table.transaction():
        table.add("run-0", "run", "name", 0.0, QUEUED)
        raise RuntimeError
    assert table.all("run") == []
    assert table.transitions("run-0") == []


def test_reordering_moves_one_and_keeps_the_others_in_order(table):
    for index in range(4):
        table.add(f"run-{index}", "run", "name", 0.0, QUEUED)
    table.reorder("run-3", 0)
    table.reorder("run-0", 99)
    assert [row.job_id for row in table.queue("run")] == ["run-3", "run-1", "run-2", "run-0"]
    table.add("run-4", "run", "name", 0.0, QUEUED)
    assert table.queue("run")[-1].job_id == "run-4"


def test_a_resumed_run_goes_to_the_end_of_the_queue_without_its_old_reason(table):
    table.add("run-0", "run", "name", 0.0, FAILED, reason="lost", message="It is gone.")
    table.add("run-1", "run", "name", 0.0, QUEUED)
    table.move("run-0", QUEUED)
    assert [row.job_id for row in table.queue("run")] == ["run-1", "run-0"]
    assert table.get("run-0").reason == table.get("run-0").message == ""


def test_a_run_that_may_have_a_process_cannot_be_removed(table):
    table.add("run-0", "run", "name", 0.0, QUEUED)
    table.move("run-0", STARTING, pid=7, identity="x")
    with pytest.raises(IllegalTransition):
        table.remove("run-0")
    table.move("run-0", RUNNING)
    assert table.move("run-0", STOPPED).pid is None
    table.remove("run-0")
    assert table.get("run-0") is None


def test_another_connection_sees_that_something_changed(table, tmp_path):
    before = table.version()
    other = Table(tmp_path / "runs.sqlite")
    other.add("run-0", "run", "name", 0.0, QUEUED)
    other.close()
    assert table.version() != before


def test_a_file_that_is_no_database_is_an_error(tmp_path):
    (tmp_path / "runs.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 40)
    with pytest.raises(sqlite3.DatabaseError):
        Table(tmp_path / "runs.sqlite")


def test_a_table_of_another_version_is_not_read(table, tmp_path):
    table._db.execute("PRAGMA user_version = 99")
    with pytest.raises(sqlite3.DatabaseError, match="another version"):
        Table(tmp_path / "runs.sqlite")


def test_unknown_columns_are_refused(table):
    table.add("run-0", "run", "name", 0.0, QUEUED)
    with pytest.raises(KeyError):
        table.set("run-0", **{"state = 'x' --": 1})


def test_key_and_values_of_what_a_job_said_are_kept_beside_its_english_text(table):
    table.add("run-0", "run", "name", 0.0, QUEUED)
    table.move("run-0", FAILED, reason="bad_config", message=say("err_empty_file", name="a.csv"), hint="Plain.")
    job = table.get("run-0")
    assert (job.message, job.hint) == ("a.csv is empty.", "Plain.")
    assert (job.message.key, job.message.values) == ("err_empty_file", {"name": "a.csv"})
    table.set("run-0", message="Another one.", hint="")
    assert table.get("run-0").message == "Another one." and not hasattr(table.get("run-0").message, "key")


def test_a_table_of_the_version_before_is_taken_over(tmp_path):
    table = Table(tmp_path / "runs.sqlite")
    table.add("run-0", "run", "name", 0.0, QUEUED)
    table.close()
    with sqlite3.connect(tmp_path / "runs.sqlite") as db:
        db.execute("ALTER TABLE jobs DROP COLUMN said")
        db.execute("PRAGMA user_version = 3")
    db.close()
    table = Table(tmp_path / "runs.sqlite")
    assert [job.job_id for job in table.queue("run")] == ["run-0"] and table.get("run-0").said == ""
    table.close()
