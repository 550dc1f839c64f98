"""Where and in which precision a run computes, and how much memory it has taken. Knows nothing of models."""

import contextlib
import ctypes
import math
import resource
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
import torch

from llmdemo.core import threads
from llmdemo.core.errors import UserError
from llmdemo.models.load import cpu_has_bf16
from llmdemo.settings.training import Method, Precision, TrainConfig
from llmdemo.training import products
from llmdemo.training.quantised import quantised_layers

_CGROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
"""By version: files of a container's limit and of what it uses, and the line of memory.stat with what it can give back."""
CGROUP_ROOT = Path("/sys/fs/cgroup")
_COMPARED = (torch.float32, torch.bfloat16)
_ROUNDS = 8
_PAYS, _PAYS_GALORE = 0.75, 0.5
"""Share of fp32's time for a layer's product below which bf16 is worth its rounding. GaLore projects its gradients in fp32
either way: at 0.6 its steps were seen to take as long as in fp32, and AdamW's 0.85 of the time
(tests/benchmarks/README.md)."""


def resolve_precision(precision: Precision, device: torch.device, method: Method = "galore") -> Precision:
    """fp32, bf16 (autocast over fp32 weights) or bf16_pure, for "auto" and for what is asked.

    auto: autocast on a GPU that has bf16, and on a CPU where `method` is faster with it; else fp32. (automatic.py turns to
    pure bf16 where autocast's weights don't fit.) Raises UserError for bf16 on a GPU without it at all.
    """
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported()
        if precision != "auto" and precision != "fp32" and not able:
            raise UserError("err_no_bf16")
        return ("bf16" if able else "fp32") if precision == "auto" else precision
    if precision == "auto":
        return "bf16" if device.type == "cpu" and bf16_pays(method) else "fp32"
    return precision


def bf16_pays(method: Method) -> bool:
    """Whether runs of `method` are faster in bf16 on this CPU by more than its rounding costs."""
    return cpu_has_bf16() and _bf16_share() < (_PAYS_GALORE if method == "galore" else _PAYS)


@cache
def _bf16_share() -> float:
    """bf16's time, casts included, over fp32's for a layer's product by the library that a run takes (products.py).

    Measured once. Having the units is not enough: with AVX-512's alone, without AMX's, oneDNN was seen to take twice fp32's
    time. One thread's own CPU time is compared, so that a busy machine answers as an idle one.
    """
    least: dict[torch.dtype, float] = {}
    x, weight = torch.ones(256, 576), torch.ones(1536, 576)
    torch.set_num_threads(1)
    try:
        for _ in range(_ROUNDS):
            for dtype in _COMPARED:
                started = time.thread_time()
                products.linear(x.to(dtype), weight.to(dtype))
                least[dtype] = min(least.get(dtype, math.inf), time.thread_time() - started)
    finally:
        torch.set_num_threads(threads.FULL)
    return least[torch.bfloat16] / least[torch.float32]


def precision_of(config: TrainConfig, device: torch.device) -> Precision:
    """`resolve_precision` of what a run's settings ask for: with quantised matrices "auto" is pure bf16 on a GPU, as fp32
    beside them would take the memory that they save; what is bf16 then is rounded by chance."""
    found = resolve_precision(config.precision, device, config.method)
    pure = config.quantises and config.precision == "auto" and device.type == "cuda" and found == "bf16"
    return "bf16_pure" if pure else found


def weight_dtype(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16_pure" else torch.float32


def autocast(precision: str, device: torch.device):
    """The context of a forward pass."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def judged_in(precision: str, device: torch.device) -> str:
    """The precision of a run's evaluations. On a CPU they compute with fp32 weights as they are: autocast would round them to
    the nearest bf16, which takes back much of what a few small steps have changed. A GPU's keep the run's precision."""
    return "fp32" if precision == "bf16" and device.type == "cpu" else precision


def allow_fast_products(precision: str, device: torch.device) -> None:
    """Lets a GPU round the factors of fp32 products to TF32 from now on, where the gradients are made of bf16 anyway."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"


def peak_bytes(device: torch.device) -> int:
    """Most memory taken so far: of the GPU's allocator, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def current_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


def give_back(device: torch.device) -> None:
    """On a CPU, hands the pages that the C library's heap holds free back to the system; where it can be asked to.

    What outlives a step (moments, bases) lies between what does not, so that the heap grows step by step.
    """
    if device.type == "cpu" and (trim := _malloc_trim()):
        trim(0)


@contextlib.contextmanager
def given_back(device: torch.device, wanted: bool) -> Iterator[None]:
    """`give_back` before and after, if that is wanted: what is done within, and what follows, do not find each other's gaps."""
    if wanted:
        give_back(device)
    yield
    if wanted:
        give_back(device)


@cache
def _malloc_trim():
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # not glibc
        return None


def available_bytes(device: torch.device) -> int:
    """What a run could take: free memory of the GPU, or of this machine, a container's limit included."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    for limit, used, files in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):
            taken = _number(used) - _reclaimable(used, files)
            free = min(free, max(0, _number(limit) - max(0, taken)))
    return free


def _number(name: str) -> int:
    return int((CGROUP_ROOT / name).read_text())  # "max" is no number: no limit


def _reclaimable(used: str, key: str) -> int:
    """Bytes of files that were read and not used since: the kernel counts them as used, and gives them to who asks."""
    with contextlib.suppress(OSError, ValueError):
        for line in (CGROUP_ROOT / used).with_name("memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    return 0


def release(model: torch.nn.Module) -> None:
    """Gives the memory of the model's weights back; it is of no use after that."""
    for parameter in model.parameters():
        parameter.data, parameter.grad = parameter.data.new_empty(0), None
    for layer in quantised_layers(model).values():
        layer.matrix.release()
