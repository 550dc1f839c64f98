"""Which matrices of a model are projected (GaLore) or adapted (LoRA): the linear layers of attention and MLP.

Knows nothing of optimizers. GPT-2's Conv1D counts as a linear layer with its weight transposed.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import percent, say


@dataclass(frozen=True)
class Target:
    """One linear layer whose weight is to be projected."""

    name: str
    module: nn.Module
    transposed: bool
    """Whether the weight is [in, out] (Conv1D) rather than [out, in]."""

    @property
    def weight(self) -> nn.Parameter:
        weight = self.module.weight
        assert isinstance(weight, nn.Parameter), "find_targets takes linear layers only"
        return weight


def find_targets(model: nn.Module, wanted: tuple[str, ...] = ()) -> list[Target]:
    """The target layers in model order; `wanted` keeps those whose name contains one of its parts.

    The output embedding, a classification head and layers with frozen weights are never targets. Raises UserError
    when nothing is left, naming what there is.
    """
    heads = {id(head) for head in _heads(model)}
    found = [
        Target(name, module, isinstance(module, Conv1D))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and id(module) not in heads and module.weight.requires_grad
    ]
    tied = {id(parameter) for parameter in _embedding_weights(model)}
    found = [target for target in found if id(target.module.weight) not in tied]
    kept = [target for target in found if not wanted or any(part in target.name for part in wanted)]
    if not kept:
        kinds = sorted({target.name.rpartition(".")[2] for target in found})
        if not kinds:
            raise UserError("err_no_linear")
        raise UserError("err_no_target", names=list(wanted), names2=list(kinds))
    return kept


def check_rank(targets: list[Target], rank: int) -> None:
    """Raises UserError for a rank that not one of the matrices has."""
    largest = max(min(target.weight.shape) for target in targets)
    if rank > largest:
        raise UserError("err_rank_too_large", rank=rank, largest=largest)


def about_experts(model: nn.Module, method: str) -> list[str]:
    """A sentence where a mixture keeps its experts as stacked matrices, which neither GaLore projects nor LoRA adapts."""
    stacked = [p for name, p in model.named_parameters() if p.dim() == 3 and "expert" in name]
    if not stacked or method == "adamw":
        return []
    share = sum(p.numel() for p in stacked) / max(1, sum(p.numel() for p in model.parameters()))
    what = say("note_experts", share=percent(share))
    if not any(p.requires_grad for p in stacked):
        return [say("note_experts_lora", what=what)]
    return [say("note_experts_whole", what=what)]


def _heads(model: nn.Module) -> list[nn.Module]:
    named = [getattr(model, name, None) for name in ("lm_head", "score", "classifier", "classification_head")]
    direct = [module for module in [*named, output_embeddings(model)] if isinstance(module, nn.Module)]
    return [inner for module in direct for inner in module.modules()]


def base_of(model: nn.Module) -> nn.Module:
    """The model inside LoRA's adapters; one without adapters itself."""
    unwrap = getattr(model, "get_base_model", None)
    return unwrap() if unwrap is not None else model


def output_embeddings(model: nn.Module) -> nn.Module | None:
    """The layer that gives the logits, where the model has one and names it as transformers' models do."""
    ask = getattr(model, "get_output_embeddings", None)
    return ask() if ask is not None else None


def _embedding_weights(model: nn.Module) -> list[Tensor]:
    return [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]


def put_layer(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Puts `layer` in the place of the module of this name."""
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, layer)
