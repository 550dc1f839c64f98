"""LoRA through peft: small trained matrices beside frozen ones (arXiv 2106.09685)."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llmdemo.core import store
from llmdemo.core.errors import UserError, first_line
from llmdemo.settings.training import HEADED, TrainConfig
from llmdemo.training.factors import FactoredLinear
from llmdemo.training.targets import check_rank, find_targets, put_layer


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
        task_type="SEQ_CLS" if config.task in HEADED else "CAUSAL_LM",
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:  # such as the output matrices of Mamba, which its kernels read by themselves
        raise UserError("err_lora_cannot", error=first_line(error)) from error


def save_adapters(model: Any, target: Path, scratch: Path, base: str, revision: str) -> None:
    """Writes the adapters of `model` to the folder `target` as peft's own files, whole or not at all: adapter_model.safetensors
    in the type that they are trained in, and adapter_config.json, which names `base` instead of a path of this computer."""
    shutil.rmtree(target, ignore_errors=True)  # of an attempt that ended before the model was written
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision = base, revision or None
    with store.whole_folder(target, scratch) as folder:
        # without "auto", which would ask the hub whether the vocabulary has grown; it never does here
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").write_text(_README.format(base=base), encoding="utf-8")


_README = """# Adapters for {base}

    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained("{base}", dtype="float32")
    model = PeftModel.from_pretrained(base, ".")

For a classifier AutoModelForSequenceClassification, with the number of its classes as num_labels. vLLM takes the folder
with --enable-lora --lora-modules name=FOLDER.
"""


@contextmanager
def merged(model: nn.Module) -> Iterator[nn.Module]:
    """The base model of `model`, in which meanwhile plain linear layers stand for those with adapters, their sum as weight,
    or for factored ones (factors.py), their product.

    Nothing is rounded when they are taken out again, as the layers themselves are not touched. Where `model` has no
    adapters, or one that is no plain sum, it is given as it is.
    """
    unwrap: Callable[[], nn.Module] | None = getattr(model, "get_base_model", None)
    base = None if unwrap is None else unwrap()
    found: list[tuple[str, Any]] = []  # peft's layers, which PyTorch's types know nothing of
    if base is not None:
        found = [(name, m) for name, m in base.named_modules() if hasattr(m, "get_delta_weight")]
    if not found or not all(type(layer.get_base_layer()) is nn.Linear for _, layer in found):
        base, found = model, [(name, m) for name, m in model.named_modules() if isinstance(m, FactoredLinear)]
    if base is None or not found:
        yield model
        return
    try:
        for name, layer in found:
            put_layer(base, name, layer.whole() if isinstance(layer, FactoredLinear) else _sum(layer))
        yield base
    finally:
        for name, layer in found:
            put_layer(base, name, layer)


@torch.no_grad()
def _sum(layer) -> nn.Linear:
    plain, (adapter,) = layer.get_base_layer(), layer.active_adapters
    whole = nn.Linear(plain.in_features, plain.out_features, bias=False, device="meta")
    whole.weight = nn.Parameter(plain.weight + layer.get_delta_weight(adapter).to(plain.weight.dtype), False)
    whole.bias = plain.bias
    return whole.train(layer.training)
