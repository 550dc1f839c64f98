"""What of a run's settings depends on the machine and the model, and which of them do nothing in it.

The settings themselves are in settings/training.py. Imports torch and bitsandbytes only when asked for 8-bit moments.
"""

from llmdemo.core.errors import UserError, first_line
from llmdemo.core.sentences import say
from llmdemo.settings.rewards import WITH_TEXT
from llmdemo.settings.schema import fields_of
from llmdemo.settings.training import DAPO_CLIP_HIGH, HEADED, TrainConfig, defaults_of, reasons_without_effect

_INSTEAD = say("instead_8bit")


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


def unused(config: TrainConfig, device: str) -> list[str]:
    """A sentence for each setting that is not its default and has no effect; `device`: torch's type, such as "cpu"."""
    reasons = reasons_without_effect(config.task, config.method)
    if config.quantises:
        reasons["optim_bits"] = say("why_quantised_moment")
        reasons["offload_gradients"] = say("why_quantised_sums")
    elif config.method == "galore" and device != "cuda":
        reasons["offload_gradients"] = say("why_no_gpu")
    if config.method == "galore" and config.galore_optimizer == "adafactor":
        reasons["beta2"] = say("why_adafactor_beta2")
        reasons["eps"] = say("why_adafactor_clip")
    if config.task == "preference" and config.preference_loss != "simpo":
        reasons["simpo_gamma"] = say("why_simpo", loss=config.preference_loss)
    if config.task == "grpo":
        reasons |= _of_rewards(config)
    usual, given = defaults_of(config.task, config.method), config.resolved()
    changed = [name for name in fields_of(TrainConfig) if getattr(given, name) != getattr(usual, name)]
    return [say("note_no_effect", name=name, why=reasons[name]) for name in changed if name in reasons]


def _of_rewards(config: TrainConfig) -> dict[str, str]:
    kinds = (config.reward, config.second_reward)
    reasons: dict[str, str] = {}
    if config.policy_loss == "rejection":
        reasons = dict.fromkeys(("kl_weight", "clip_low", "clip_high"), say("why_rejection"))
    elif config.rollout_steps == 1:  # the ratio is 1 throughout
        reasons = dict.fromkeys(("clip_low", "clip_high"), say("why_one_step"))
        if config.policy_loss == "dapo" and config.clip_high == DAPO_CLIP_HIGH:  # its default, which nobody changed
            del reasons["clip_high"]
    if not set(kinds) & set(WITH_TEXT):
        reasons["reward_text"] = say("why_reward_text", kinds=[kind for kind in kinds if kind != "none"])
    if "length" not in kinds:
        reasons["reward_tokens"] = say("why_reward_tokens")
    if "model" not in kinds:
        reasons["reward_model_id"] = say("why_reward_model")
    if config.second_reward == "none":
        reasons["second_share"] = say("why_second_share")
    return reasons


def clamped(spaces: list, rank: int) -> list[str]:
    """A sentence where some of GaLore's subspaces (subspace.Subspace) have a lower rank than was asked for."""
    smaller = [space.rank for space in spaces if space.rank < rank]
    if not smaller:
        return []
    return [say("note_rank_clamped", rank=rank, n=len(smaller), all=len(spaces), least=min(smaller))]


def require_library() -> None:
    """Raises UserError where bitsandbytes cannot be imported: galore_torch needs it for whatever is imported from it."""
    try:
        import bitsandbytes  # noqa: F401 - only whether it can be
    except Exception as error:  # it loads libraries of the system, which may fail in ways of their own
        raise UserError("err_no_bitsandbytes", error=first_line(error)) from error


def require_8bit(device) -> None:
    """Raises UserError where bitsandbytes has no 8-bit optimizer for `device` (a torch.device): one step is tried."""
    import torch

    require_library()
    from bitsandbytes.optim import AdamW8bit

    # 4096 values: smaller tensors would keep their moments in 32 bits.
    weight = torch.nn.Parameter(torch.zeros(4096, device=device))
    weight.grad = torch.zeros_like(weight)
    try:
        AdamW8bit([weight]).step()
    except Exception as error:  # a missing kernel, library or operator: each version has its own
        raise UserError("err_no_8bit", _INSTEAD, device=device, error=first_line(error)) from error
