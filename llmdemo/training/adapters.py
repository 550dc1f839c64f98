"""LoRA through peft: small trained matrices beside frozen ones (arXiv 2106.09685)."""

from llmdemo.training.config import TrainConfig
from llmdemo.training.targets import find_targets


def add_adapters(model, config: TrainConfig):
    """The model with adapters of rank `config.rank` on its target matrices; all else is frozen.

    Raises UserError when no target matches.
    """
    from peft import LoraConfig, get_peft_model

    config = config.resolved()
    targets = find_targets(model, config.target_modules)
    return get_peft_model(
        model,
        LoraConfig(
            r=config.rank,
            lora_alpha=max(1, round(config.rank * config.scale)),
            lora_dropout=0.0,
            target_modules=[target.name for target in targets],
            fan_in_fan_out=any(target.transposed for target in targets),
            # For classification, peft also trains the fresh head and keeps it with the adapters.
            task_type="SEQ_CLS" if config.task == "classify" else "CAUSAL_LM",
        ),
    )
