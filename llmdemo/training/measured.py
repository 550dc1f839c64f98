"""What an optimizer really holds, in bytes, counted over its tensors. Knows nothing of predictions."""

from torch import Tensor


def optimizer_bytes(optimizer) -> dict[str, int]:
    """{"optimizer", "moments", "subspace"}: bytes of the state as it stands, each storage once.

    `subspace` are GaLore's bases, `moments` all else that the optimizer keeps between its steps, its counters included;
    `optimizer` is their sum. 0 before the first step.
    """
    tensors, _ = optimizer.named_state()
    bases = [tensor for name, tensor in tensors.items() if name.startswith("basis/")]
    moments = [tensor for name, tensor in tensors.items() if not name.startswith("basis/")]
    sizes = {"moments": _bytes(moments), "subspace": _bytes(bases)}
    return {"optimizer": sum(sizes.values()), **sizes}


def _bytes(tensors: list[Tensor]) -> int:
    # bitsandbytes gives all states of one kind the same quantisation map: it counts once.
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
