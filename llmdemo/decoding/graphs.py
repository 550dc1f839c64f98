"""The lock-step loop on a CUDA GPU as one captured graph a step. Knows lanes only through run.choose.

A step of a small model is hundreds of tiny kernels, and starting them one by one takes a GPU's host far longer
than running them. Here the whole step, the choice of the next tokens included, has fixed shapes and addresses and is
captured once, then replayed; the host only reads each step's numbers, one step behind the GPU. Lanes that have
ended stay in the batch: a row costs nearly nothing, a new capture does. Where capture fails the loop goes on without it.
"""

import logging
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch

from llmdemo.core.errors import first_line
from llmdemo.decoding.fused_llama import FusedLlamaForward, FusedLlamaWeights
from llmdemo.decoding.lane_maker import LaneMaker
from llmdemo.decoding.lanes import Rows
from llmdemo.decoding.run import Run, choose
from llmdemo.decoding.steps import Step
from llmdemo.settings.decoding import DecodeSettings

_log = logging.getLogger(__name__)
_AGREES = 0.1
"""Relative difference of logits, in 16 bits, above which a step keeps to torch's own kernels; as backend.py allows."""


class Kernels(NamedTuple):
    """What computes a step on a GPU instead of torch."""

    layers: Callable[..., torch.Tensor]
    """gpu_layers.layers, for at most `most_rows` rows."""
    most_rows: int
    rows_of: Callable[[torch.Tensor, int], Rows]
    """As lanes.Rows.of: gpu_rows.rows_of."""
    lane_chooses: Callable[[Any, Rows, torch.Tensor], Any]
    """As a lane's own `choose`: gpu_lanes.choose."""


_kernels: weakref.WeakKeyDictionary[FusedLlamaWeights, Kernels | None] = weakref.WeakKeyDictionary()
_captured: weakref.WeakSet[FusedLlamaWeights] = weakref.WeakSet()
"""Of which a step was captured before, so that most of what another needs is loaded; the first run's step 1 is run as it is."""


class StaticForward(FusedLlamaForward):
    """The fused forward with every shape and address fixed between calls of `make_room`."""

    def __init__(self, weights: FusedLlamaWeights, kernels: Kernels | None = None):
        """`kernels`: what computes a step instead of torch; see `kernels_for`."""
        super().__init__(weights)
        self.kernels = kernels

    def prefill(self, prompt_ids: list[int], rows: int, max_new: int) -> torch.Tensor:
        """Logits (1, V) after the prompt."""
        logits = super().prefill(prompt_ids, rows, max_new)
        self._fix(self.mask)
        self.place = torch.tensor([self.position], device=self.device)  # (1,) the position of the next tokens
        return logits

    def _fix(self, mask: torch.Tensor) -> None:
        """mask (R, used) → (R, capacity); the nodes of the next step."""
        self.mask = mask.new_full((self.rows, self.keys.shape[2]), -torch.inf)
        self.mask[:, : self.used] = mask
        # room that was never written may hold NaN, and 0 · NaN is NaN even under the mask
        self.keys[:, :, self.used :] = 0
        self.values[:, :, self.used :] = 0
        self.nodes = torch.arange(self.used, self.used + self.rows, device=self.device)

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Logits (R, V), as FusedLlamaForward.step; waits for nothing, so that it can be captured. See `count`."""
        if self.kernels and self.rows <= self.kernels.most_rows:
            cache = (self.keys, self.values, self.mask, self.nodes, self.rotation, self.place)
            return self.w.head(self.kernels.layers(self.w, tokens, parents, *cache))
        self.mask.copy_(self.mask[parents])
        self.mask.scatter_(1, self.nodes[:, None], 0.0)
        hidden = self._layers(tokens, self.rotation.index_select(0, self.place), self.mask, self.nodes)
        self.place += 1
        self.nodes += self.rows
        return self.w.logits(hidden)

    def count(self) -> None:
        """To be called once a step that was run or replayed: the host's view of how much room is used."""
        self.used += self.rows

    def make_room(self) -> bool:
        """Makes room for one more step if there is none; True if that moved the memory, so that a capture is void."""
        if self.used + self.rows <= self.keys.shape[2]:
            return False
        alive = (self.mask == 0).any(0).nonzero()[:, 0]  # (nodes that stay,)
        mask, old, old_nodes = self.mask[:, alive], self.mask, self.nodes
        grown = self._keep(alive, self.rows)
        self._fix(mask)
        if not grown:
            self.mask, self.nodes = old.copy_(self.mask), old_nodes.copy_(self.nodes)
        return grown


def kernels_for(weights: FusedLlamaWeights) -> Kernels | None:
    """The Kernels, where there is Triton and they are tried and found to compute what torch does; else None."""
    if weights not in _kernels:
        _kernels[weights] = _tried(weights)
    return _kernels[weights]


def _tried(weights: FusedLlamaWeights) -> Kernels | None:
    try:
        # only where there is a GPU: Triton comes with torch for CUDA
        from llmdemo.decoding import gpu_lanes, gpu_layers, gpu_rows
    except ImportError:
        return None
    if not gpu_layers.fits(weights):
        return None
    kernels = Kernels(gpu_layers.layers, gpu_layers.MOST_ROWS, gpu_rows.rows_of, gpu_lanes.choose)
    try:
        with torch.inference_mode(), _current(weights.device):
            want, got = (_some_step(StaticForward(weights, way)) for way in (None, kernels))
            apart = float((want - got).norm() / want.norm())
            logits = torch.randn(3, weights.vocabulary, generator=torch.Generator().manual_seed(5)).to(weights.device)
            alike = torch.equal(_some_choice(4 * logits), _some_choice(4 * logits, *kernels[2:]))
    except Exception as error:  # whatever keeps a kernel from being compiled here: torch's own do the same
        _log.warning("The GPU kernels cannot be had here, so steps go without them: %s", first_line(error))
        return None
    if apart > _AGREES:
        _log.warning("The GPU kernels differ by %.2g, so steps go without them.", apart)
        return None
    if not alike:
        _log.warning("The GPU kernels choose other tokens, so steps go without them.")
        return None
    return kernels


def _current(device: torch.device) -> AbstractContextManager:
    """Graphs, events and Triton's kernels go by the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _some_step(forward: StaticForward) -> torch.Tensor:
    """Logits (3, V) float64 of two steps after a short prompt, whose rows change places."""
    vocabulary, device = forward.w.vocabulary, forward.device
    forward.prefill([(7 + 97 * i) % vocabulary for i in range(12)], 3, 3)
    tokens = torch.tensor([5, 11, 17], device=device) % vocabulary
    for order in ([0, 0, 0], [2, 0, 0]):
        logits = forward.step(tokens, torch.tensor(order, device=device))
        forward.count()
    return logits.double()


def _some_choice(logits: torch.Tensor, *ways: Any) -> torch.Tensor:
    """(N,) what the usual lanes choose from logits (3, V), by kernels or by torch; where no two are equal, they agree."""
    settings = DecodeSettings.from_dict({"num_beams": 3, "max_new_tokens": 4})
    lanes = [LaneMaker([7], settings, 4, [], logits.device).lane(lane) for lane in settings.lanes]
    places = torch.arange(sum(lane.rows for lane in lanes), device=logits.device) % len(logits)
    t = torch.ones(1, dtype=torch.int64, device=logits.device)
    return torch.cat(choose(lanes, logits[places], t, None, _after_one_another, *ways)[:2])


class Branches:
    """Streams of a GPU for what lanes choose: captured on them it runs at the same time, as each is too small to fill a GPU."""

    @contextmanager
    def __call__(self, number: int) -> Iterator[None]:
        """Around the part of this number: it waits for what was begun before part 0, and what follows waits for it."""
        main, own = torch.cuda.current_stream(), torch.cuda.Stream()
        if number == 0:
            self._start = main.record_event()
        own.wait_event(self._start)
        with torch.cuda.stream(own):
            yield
        main.wait_stream(own)


def _after_one_another(_: int) -> AbstractContextManager:
    return nullcontext()


class GraphRun(Run):
    """Run over a StaticForward, replaying a captured step where the device can."""

    def __init__(self, *args, capture: bool | None = None):
        super().__init__(*args)
        self.capture = self.forward.device.type == "cuda" if capture is None else capture
        self.graph: torch.cuda.CUDAGraph | None = None
        self._beside: Callable[[int], AbstractContextManager] = _after_one_another

    def _steps(self) -> Generator[Step]:
        return self.work()

    def work(self) -> Generator[Any, torch.Tensor | None]:
        """The Steps; each is computed here."""
        with torch.inference_mode():
            step = self._first()
        yield step
        if step.done or self.max_new == 1:
            return
        with torch.inference_mode():
            ahead = self._launch(1)
        for t in range(1, self.max_new):
            with torch.inference_mode():
                now, ahead = ahead, self._launch(t + 1) if t + 1 < self.max_new else None
                step = self.read(_wait(*now), t, self.total_rows)
            yield step
            if step.done:
                return

    def _first(self) -> Step:
        rows = self.total_rows = self.rows
        device = self.forward.device
        logits = self.forward.prefill(self.prompt, rows, self.max_new).expand(rows, -1)
        self.t = torch.zeros(1, dtype=torch.int64, device=device)
        self.tokens, self.parents, packed = choose(self.lanes, logits, self.t, None, _after_one_another, *self._ways())
        self.t += 1
        return self.read(packed.tolist(), 0, 1)

    def _launch(self, t: int):
        """Starts step t; (its numbers on their way to the host, the event of their arrival or None)."""
        with _current(self.forward.device):
            return self._launch_here(t)

    def _launch_here(self, t: int):
        if self.forward.make_room():
            self.graph = None
        if self.capture and self.graph is None and (t > 1 or self.forward.w in _captured):
            self._capture(is_first=t == 1)
        if self.graph is not None:
            self.graph.replay()
            out = self.out
        else:
            out = self._body()
        self.forward.count()
        if out.device.type != "cuda":
            return out, None
        host = torch.empty(out.shape, dtype=out.dtype, pin_memory=True)
        host.copy_(out, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return host, event

    def _body(self) -> torch.Tensor:
        """One step on fixed addresses: reads and writes self.tokens, parents, t and the lanes' and forward's state."""
        logits = self.forward.step(self.tokens, self.parents)
        tokens, parents, packed = choose(self.lanes, logits, self.t, None, self._beside, *self._ways())
        self.tokens.copy_(tokens)
        self.parents.copy_(parents)
        self.t += 1
        return packed

    def _ways(self) -> tuple:
        """How kernels choose: `choose`'s last arguments."""
        return self.forward.kernels[2:] if self.forward.kernels else ()

    def _capture(self, is_first: bool) -> None:
        """Captures one step without running it; on failure the rest of the run goes on uncaptured, or after step 1 tries again:
        that one runs then as it is, which loads what a capture cannot load."""
        try:
            graph, self._beside = torch.cuda.CUDAGraph(), Branches()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.out = self._body()
            self.graph = graph
            _captured.add(self.forward.w)
        except (RuntimeError, NotImplementedError) as error:
            if not is_first:
                _log.warning("This GPU step cannot be captured, so it runs uncaptured: %s", error)
                self.capture = False
        finally:
            self._beside = _after_one_another


def _wait(numbers: torch.Tensor, event) -> list[float]:
    if event is not None:
        event.synchronize()
    return numbers.tolist()
