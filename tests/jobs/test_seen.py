"""What tells pages that a job has changed."""


def test_a_mark_changes_with_each_event_and_state_of_a_job_and_with_nothing_else(bench):
    app = bench.open()
    run_id = app.start({"steps": 8, "step_seconds": 0.02})
    marks = {app.jobs.marks()[run_id]}
    while app.status(run_id)["state"] != "completed":
        marks.add(app.jobs.marks()[run_id])
    assert {mark.state for mark in marks} >= {"running"} and len({mark.bytes for mark in marks}) > 2
    over = app.jobs.marks()
    assert over[run_id].kind == "run" and over[run_id].state == "completed" and app.jobs.marks() == over
    app.rename(run_id, "another")
    assert app.jobs.marks() != over
    app.delete(run_id)
    assert run_id not in app.jobs.marks()
