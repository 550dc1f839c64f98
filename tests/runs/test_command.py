import os
import runpy
import sys
from types import SimpleNamespace

import pytest

from llmdemo.jobs import environment
from llmdemo.jobs.environment import PROJECT, free_gpus, gpus
from llmdemo.runs import command
from llmdemo.runs.command import worker_command, worker_environment
from llmdemo.training import launch as training_launch


@pytest.fixture
def accelerator(monkeypatch):
    """accelerator(there): this machine has one, or none."""

    def set_(there):
        for module in (command, environment):
            monkeypatch.setattr(module, "has_accelerator", lambda: there)

    return set_


@pytest.mark.parametrize("there", [False, True])
def test_one_process_is_told_what_accelerates_launcher_would_tell_it(accelerator, there, monkeypatch, tmp_path):
    from accelerate.commands import launch

    accelerator(there)
    told = []
    monkeypatch.setattr(
        launch.subprocess, "Popen", lambda command, env: told.append(env) or SimpleNamespace(wait=int, returncode=0)
    )
    monkeypatch.setattr(runpy, "run_module", lambda name, **more: told.append((name, sys.argv[1:], dict(os.environ))))
    argv = worker_command(tmp_path, {})
    assert argv[:3] == [sys.executable, "-m", "llmdemo.training.launch"]
    with monkeypatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path))  # no `accelerate config` of who runs the tests
        launch.launch_command(launch.launch_command_parser().parse_args(argv[3:]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", dict(os.environ))
        patch.setattr(sys, "argv", [])
        training_launch.main(argv[3:])
    (theirs, (module, arguments, ours)) = told
    assert (module, arguments) == ("llmdemo.training.worker", [str(tmp_path)])
    assert ours.items() >= {name: value for name, value in theirs.items() if name != "HF_HOME"}.items()
    assert ours["ACCELERATE_USE_CPU"] == str(not there) and ours["ACCELERATE_MIXED_PRECISION"] == "no"
    assert worker_environment(tmp_path, {}, {})["OMP_NUM_THREADS"] == ours["OMP_NUM_THREADS"]


def test_the_worker_goes_through_accelerates_launcher(accelerator, tmp_path):
    accelerator(False)
    argv = worker_command(tmp_path, {})
    assert argv[-3:] == ["-m", "llmdemo.training.worker", str(tmp_path)]
    assert "--cpu" in argv and argv[argv.index("--num_processes") + 1] == "1"


def test_the_threads_are_what_the_environment_says(accelerator, monkeypatch, tmp_path):
    accelerator(False)
    for value, threads in (("3", "3"), ("many", None), ("", None)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        argv = worker_command(tmp_path, {})
        found = argv[argv.index("--num_cpu_threads_per_process") + 1]
        assert found == (threads or found) and int(found) > 0


def test_a_run_that_saves_memory_leaves_no_gaps_unless_somebody_says_otherwise(accelerator, tmp_path):
    accelerator(True)
    name = "PYTORCH_CUDA_ALLOC_CONF"
    assert worker_environment(tmp_path, {"weight_bits": 8}, {})[name] == "expandable_segments:True"
    assert (
        worker_environment(tmp_path, {"weight_bits": 8}, {name: "max_split_size_mb:64"})[name] == "max_split_size_mb:64"
    )
    assert name not in worker_environment(tmp_path, {"weight_bits": 32}, {})


def test_several_gpus_are_asked_for_by_the_setting(accelerator, tmp_path):
    accelerator(True)
    argv = worker_command(tmp_path, {"num_processes": 2})
    assert "--multi_gpu" in argv and "--cpu" not in argv
    assert argv[argv.index("--num_processes") + 1] == "2" and argv[2] == "accelerate.commands.launch"


def test_several_processes_on_a_cpu_need_no_mpi(accelerator, tmp_path):
    accelerator(False)
    argv = worker_command(tmp_path, {"num_processes": 2})
    assert argv[2] == "torch.distributed.run" and "2" in argv
    assert worker_environment(tmp_path, {"num_processes": 2}, {})["OMP_NUM_THREADS"]


def test_nonsense_in_the_settings_is_left_to_the_worker_to_judge(tmp_path):
    for count in (None, 0, -3, "2; rm -rf /", 10**9, True, 1.5):
        assert worker_command(tmp_path, {"num_processes": count}) == worker_command(tmp_path, {})


def test_the_environment_finds_the_project_from_any_folder(tmp_path):
    env = worker_environment(tmp_path, {}, {"PYTHONPATH": "/elsewhere", "A": "b"})
    assert env["PYTHONPATH"].split(":") == [str(PROJECT), "/elsewhere"]
    assert env["A"] == "b" and env["LLMDEMO_HOME"] == str(tmp_path)
    assert (PROJECT / "llmdemo" / "runs").is_dir()


def test_the_gpus_are_those_that_this_app_may_see(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpus({}, tmp_path) == ["0", "1", "10"]
    assert gpus({"CUDA_VISIBLE_DEVICES": "3, GPU-abc"}, tmp_path) == ["3", "GPU-abc"]
    assert gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == gpus({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == []


def test_each_run_gets_gpus_of_its_own_and_waits_for_them():
    assert free_gpus(1, [], [], share=False) == free_gpus(2, ["0"], ["0"], share=False) == []
    assert free_gpus(1, ["0", "1"], [], share=False) == ["0"]
    assert free_gpus(1, ["0", "1"], ["0"], share=False) == ["1"]
    assert free_gpus(2, ["0", "1"], ["0"], share=False) is None
    assert free_gpus(2, ["0", "1", "2"], ["0", "0", "1"], share=True) == ["2", "1"]
    assert free_gpus(9, ["0", "1"], [], share=False) == ["0", "1"], "the worker says that there are too few"


def test_the_worker_sees_only_the_gpus_that_it_was_given(tmp_path):
    assert worker_environment(tmp_path, {}, {}, ["2", "3"])["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment(tmp_path, {}, {}, [])


def test_a_worker_on_a_cpu_gives_freed_memory_back_unless_told_otherwise(accelerator, tmp_path):
    accelerator(False)
    assert int(worker_environment(tmp_path, {}, {})["MALLOC_MMAP_THRESHOLD_"]) == 4 * 2**20
    assert worker_environment(tmp_path, {}, {"MALLOC_MMAP_THRESHOLD_": "1"})["MALLOC_MMAP_THRESHOLD_"] == "1"
    accelerator(True)
    assert "MALLOC_MMAP_THRESHOLD_" not in worker_environment(tmp_path, {}, {})
