"""What of a run's settings depends on the machine and the model. The settings themselves are in settings/training.py."""

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.training import HEADED, TrainConfig


def check_gpus(config: TrainConfig, gpus: int, here: int | None = None) -> None:
    """Raises UserError where more processes are wanted than the machine has GPUs; without any they share the CPU.

    `here`: the processes of this machine; None: all of the run's.
    """
    if gpus and (here or config.num_processes) > gpus:
        raise UserError("err_few_gpus", processes=config.num_processes, gpus=gpus)


def check_task(config: TrainConfig, entry) -> None:
    """Raises UserError where the model of `entry` (a catalog.ModelEntry) cannot learn the config's task."""
    if config.task != "classify" and not entry.writes:
        kind = say("model_only_classifies") if entry.task in HEADED else say("model_only_reads")
        raise UserError("err_task_writes", title=entry.title, kind=kind, task=repr(config.task))
