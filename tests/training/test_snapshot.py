"""What a checkpoint knows of the processes that made it, and with which others a run may go on from it."""

from types import SimpleNamespace

import pytest
from torch import nn

from llmdemo.core.errors import UserError
from llmdemo.training.snapshot import _check_shares, _shares


def loop(processes, records, dropout=0.0):
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(dropout))
    return SimpleNamespace(processes=processes, config=SimpleNamespace(global_batch=records), model=model)


def test_a_run_goes_on_with_other_processes_where_a_step_has_the_same_records():
    _check_shares(loop(1, 8), _shares(loop(2, 8)))
    _check_shares(loop(2, 8, dropout=0.1), _shares(loop(2, 8, dropout=0.1)))
    _check_shares(loop(2, 8), {})  # a checkpoint from before this was kept


@pytest.mark.parametrize(("now", "said"), [(loop(4, 16), "8 records"), (loop(4, 8, dropout=0.1), "random numbers")])
def test_where_it_would_not_be_exact_it_is_refused_with_the_reason(now, said):
    with pytest.raises(UserError, match=said) as refused:
        _check_shares(now, _shares(loop(2, 8)))
    assert "Resume with 2 processes" in refused.value.hint
