"""LoRA through peft: small trained matrices beside frozen ones (arXiv 2106.09685)."""

from llmdemo.errors import UserError, first_line
from llmdemo.settings.training import TrainConfig
from llmdemo.training.targets import check_rank, find_targets


def add_adapters(model, config: TrainConfig):
    """The model with adapters of rank `config.rank` on its target matrices; all else is frozen.

    Raises UserError when no target matches, for a rank above every one, and for a model whose matrices peft does not adapt.
    """
    from peft import LoraConfig, get_peft_model

    config = config.resolved()
    targets = find_targets(model, config.target_modules)
    check_rank(targets, config.rank)
    assert config.scale is not None, "a resolved config has one"
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.rank * config.scale,  # type: ignore[arg-type]  # peft only divides it by the rank
        lora_dropout=0.0,
        target_modules=[target.name for target in targets],
        fan_in_fan_out=any(target.transposed for target in targets),
        # For classification, peft also trains the fresh head and keeps it with the adapters.
        task_type="SEQ_CLS" if config.task == "classify" else "CAUSAL_LM",
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:  # such as the output matrices of Mamba, which its kernels read by themselves
        raise UserError(
            f"LoRA cannot adapt this model: {first_line(error)}",
            "Choose the method galore or adamw, or other target_modules.",
        ) from error
