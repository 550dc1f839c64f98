"""Whether 8-bit moments can be had here. Knows nothing of models; imports torch and bitsandbytes only when asked."""

from llmdemo.core.errors import UserError, first_line
from llmdemo.core.sentences import say

_INSTEAD = say("instead_8bit")


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
