"""What of a run's settings depends on the machine and the model. The settings themselves are in settings/training.py."""

from llmdemo.core.errors import UserError
from llmdemo.settings.training import TrainConfig


def check_gpus(config: TrainConfig, gpus: int, here: int | None = None) -> None:
    """Raises UserError where more processes are wanted than the machine has GPUs; without any they share the CPU.

    `here`: the processes of this machine; None: all of the run's.
    """
    if gpus and (here or config.num_processes) > gpus:
        there = "1 GPU" if gpus == 1 else f"{gpus} GPUs"
        raise UserError(
            f"num_processes is {config.num_processes}, and there {'is' if gpus == 1 else 'are'} {there}.",
            f"Each process needs a GPU of its own: set num_processes to {gpus} or less, and raise "
            "gradient_accumulation_steps for the same global batch.",
        )


def check_task(config: TrainConfig, entry) -> None:
    """Raises UserError where the model of `entry` (a catalog.ModelEntry) cannot learn the config's task."""
    if config.task != "classify" and not entry.writes:
        kind = "only classifies" if entry.task == "classify" else "is an encoder, which only reads"
        raise UserError(
            f"{entry.title} {kind}; the task {config.task!r} needs a model that writes.",
            "Choose a causal language model, such as Llama, Qwen or GPT-2, or data with labels.",
        )
