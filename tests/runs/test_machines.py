"""A run on several machines as text: what a shell makes of it is the folder and the commands that were meant."""

import json
import shlex
import subprocess

import pytest

from llmdemo.core.errors import UserError
from llmdemo.runs.machines import checked_machines, commands, script


def test_a_shell_makes_the_runs_folder_with_settings_that_nothing_escapes_from(tmp_path):
    folder = tmp_path / "a home with 'quotes' $(touch evil)" / "run-1"
    config = {"method": "galore", "dataset": {"name": "END\nEND\n`touch evil` $HOME 資料"}}
    text = script(folder, config, 2, 4, cpu=False)
    first = text[: text.index("\n# On machine 1 of 2")]
    subprocess.run(["sh", "-c", first], cwd=tmp_path, check=True)
    assert json.loads((folder / "config.json").read_text()) == config | {"num_processes": 8}
    assert not (tmp_path / "evil").exists()
    last = shlex.split(text.splitlines()[-1])
    assert last[-3:] == ["-m", "llmdemo.training.worker", str(folder)]


def test_the_machines_differ_in_their_rank_alone(tmp_path):
    first, second = (shlex.split(each) for each in commands(tmp_path, 2, 4, cpu=False))
    at = first.index("--machine_rank") + 1
    assert (first[at], second[at]) == ("0", "1") and first[:at] + first[at + 1 :] == second[:at] + second[at + 1 :]
    assert first[first.index("--num_processes") + 1] == "8" and "--multi_gpu" in first
    assert commands(tmp_path, 1, 1, cpu=True)[0].startswith("ACCELERATE_USE_CPU=true accelerate launch ")


@pytest.mark.parametrize("asked", [(0, 1), (65, 1), (2, 0), (2, 1000), (True, 1), ("2", 1), (2, 1.5), (None, 1)])
def test_numbers_that_cannot_be_are_refused(asked):
    with pytest.raises(UserError, match="at most|1 to"):
        checked_machines(*asked)
