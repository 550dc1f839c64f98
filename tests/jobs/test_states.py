from llmdemo.jobs.states import ALIVE, COMPLETED, FAILED, FINAL, LEGAL, QUEUED, STOPPED, is_legal


def test_every_state_is_either_waiting_alive_or_final():
    assert {QUEUED, *ALIVE, *FINAL} == set(LEGAL) - {None}


def test_only_jobs_that_have_ended_can_be_queued_again():
    assert [state for state in LEGAL if state and is_legal(state, QUEUED)] == [COMPLETED, STOPPED, FAILED]
    assert LEGAL[COMPLETED] == (QUEUED,)


def test_every_living_state_can_end_in_every_way():
    assert all(is_legal(state, end) for state in ALIVE for end in FINAL)


def test_unknown_states_lead_nowhere():
    assert not is_legal("asleep", QUEUED)
