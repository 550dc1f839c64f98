"""A fused forward pass for plain Llama-family models, on the model's own weights. Knows no lanes.

What makes it faster than the model's own forward at a few rows:
- One KV cache for all rows, with tree attention: every (step, row) is a node of a tree whose root is the prompt, and a
  mask (rows, nodes) marks each row's ancestors. Reordering beams permutes the mask and copies no keys or values.
  Nodes without a live descendant are dropped when the cache is full.
- Fused projections: q, k, v are one linear, gate and up another, with weights packed for few rows, in fp16 where that
  holds them exactly (linears.py).
- Rotary embedding as one complex product: the rows of the q and k weights are permuted so that the two halves of a
  rotated pair are adjacent, which changes no dot product of q and k.
- Dynamic batching (step_batcher.py): concurrent comparisons share every linear; attention is computed per comparison.
- A text that goes on by several tokens at once (Chain) is one more branch of the tree, in the same forward.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F

from llmdemo.decoding.linears import (
    Fp16Linear,
    Int8Linear,
    Linear,
    PackedLinear,
    can_fp16,
    can_int8,
    can_pack,
    cpu_has_bf16,
    fp16_scale,
)
from llmdemo.decoding.step_batcher import StepBatcher
from llmdemo.decoding.thread_budget import ThreadBudget

PACK_ROWS = 8
_PREFILL_CHUNK = 512
_FIRST_STEPS = 128


class Part(Protocol):
    """What a forward asks of each run that takes part in it."""

    rows: int
    """Its new tokens."""
    rotation: torch.Tensor
    """[rows or 1, D/2], complex: of their positions."""

    def attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """[rows, Hq · D]: the layer's attention of its new tokens from q [rows, Hq, D], k and v [rows, Hkv, D], q and k rotated
        to their positions; keeps k and v."""


Request = list[tuple[torch.Tensor, Part]]
"""What one run asks of a forward: the new tokens (M,) of each of its parts."""


class FusedLlamaWeights:
    """A plain Llama's weights, fused and packed. Built once per model; `plain_llama` (backend.py) says for which models."""

    def __init__(self, model, dtype: torch.dtype, int8: bool = False, threads: ThreadBudget | None = None):
        config, inner = model.config, model.model
        self.device = inner.embed_tokens.weight.device
        self.batcher: StepBatcher[Request] = StepBatcher(threads or ThreadBudget(self.device))
        self.dtype = (
            torch.float32 if dtype == torch.bfloat16 and self.device.type == "cpu" and not cpu_has_bf16() else dtype
        )
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        self.rotary = inner.rotary_emb
        self.embedding = inner.embed_tokens.weight  # (V, hidden), the model's own
        self.int8 = int8 and can_int8(self.device)
        self.use_packed = can_pack(self.device, self.dtype)
        self.use_fp16 = self.dtype == torch.float32 and can_fp16(self.device)
        self.error: float | None = None
        """Relative distance of the logits from the model's own, once backend.py has measured it."""
        self.layers = [self._layer(layer) for layer in inner.layers]
        self.norm = self._cast(inner.norm.weight)
        self.head = self._linear([model.lm_head])
        self.vocabulary = model.lm_head.weight.shape[0]

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().to(self.dtype)

    def _linear(self, parts, rotated: int = 0) -> Linear:
        """The linears `parts` as one; the first `rotated` of them have their rows paired for the complex rotation."""
        weights = [self._cast(part.weight) for part in parts]
        biases = [self._cast(part.bias) for part in parts] if parts[0].bias is not None else None
        for i in range(rotated):
            weights[i] = self._paired(weights[i])
            if biases:
                biases[i] = self._paired(biases[i])
        weight = torch.cat(weights) if len(weights) > 1 else weights[0]
        bias = torch.cat(biases) if biases else None
        # int8 halves its error when q, k, v stay exact, for a seventh of the bytes
        if self.int8 and not rotated:
            return Int8Linear(weight, bias)
        if self.use_fp16 and fp16_scale(weight) is not None:
            return Fp16Linear(weight, bias)
        return PackedLinear(weight, bias, PACK_ROWS) if self.use_packed else Linear(weight, bias)

    def _paired(self, tensor: torch.Tensor) -> torch.Tensor:
        """Rows (H·D, …): element i and i + D/2 of a head, a pair of the rotation, side by side."""
        shape = tensor.shape
        halves = tensor.view(-1, 2, self.head_dim // 2, *shape[1:])
        return halves.transpose(1, 2).reshape(shape)

    def _layer(self, layer):
        attention, mlp = layer.self_attn, layer.mlp
        return (
            self._cast(layer.input_layernorm.weight),
            self._linear([attention.q_proj, attention.k_proj, attention.v_proj], rotated=2),
            self._linear([attention.o_proj]),
            self._cast(layer.post_attention_layernorm.weight),
            self._linear([mlp.gate_proj, mlp.up_proj]),
            self._linear([mlp.down_proj]),
        )

    def hidden_states(self, tokens: torch.Tensor, parts: Sequence[Part]) -> torch.Tensor:
        """(M, hidden) of the M new nodes of all `parts`, whose tokens follow one another in `tokens` (M,)."""
        hidden = F.embedding(tokens, self.embedding).to(self.dtype)
        width = (hidden.shape[-1],)
        sizes = [part.rows for part in parts]
        # of all parts at once: sixteen requests would be sixteen times as many small operations
        rotation = (
            torch.cat([part.rotation.expand(part.rows, -1) for part in parts]) if len(parts) > 1 else parts[0].rotation
        )
        for i, (norm1, qkv, out, norm2, gate_up, down) in enumerate(self.layers):
            x = qkv(F.rms_norm(hidden, width, norm1, self.eps)).view(
                len(tokens), -1, self.head_dim
            )  # (M, Hq + 2·Hkv, D)
            q, k = rotated(x[:, : -self.kv_heads], rotation).split((self.heads, self.kv_heads), 1)
            own = zip(q.split(sizes), k.split(sizes), x[:, -self.kv_heads :].split(sizes), strict=True)
            mixed = [part.attend(i, *each) for part, each in zip(parts, own, strict=True)]
            hidden = out.plus(hidden, torch.cat(mixed) if len(mixed) > 1 else mixed[0])
            gate, up = gate_up(F.rms_norm(hidden, width, norm2, self.eps)).chunk(2, -1)
            hidden = down.plus(hidden, F.silu(gate) * up)
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(M, V) of hidden states (M, hidden)."""
        return self.head(F.rms_norm(hidden, (hidden.shape[-1],), self.norm, self.eps))

    def batched_logits(self, requests: list[Request]) -> list[torch.Tensor]:
        """Logits (M, V) of each request, over its parts one after another, from one forward over all of them."""
        every = [each for request in requests for each in request]
        hidden = self.hidden_states(torch.cat([tokens for tokens, _ in every]), [part for _, part in every])
        sizes = [sum(part.rows for _, part in request) for request in requests]
        return list(self.logits(hidden).split(sizes))

    def rotations(self, length: int) -> torch.Tensor:
        """(length, D/2) complex64: the rotation of each position, from the model's own rotary embedding."""
        probe = torch.zeros(1, dtype=torch.float32, device=self.device)
        cos, sin = self.rotary(probe, torch.arange(length, device=self.device)[None])  # (1, length, D) both
        half = self.head_dim // 2
        return torch.complex(cos[0, :, :half].float(), sin[0, :, :half].float())


class FusedLlamaForward:
    """Prefill, then one step after another over rows; the same interface as forward.ModelForward."""

    joins = True

    def __init__(self, weights: FusedLlamaWeights, begun: "Begun | None" = None):
        """`begun`: what another prompt that begins alike left; that much of it is not computed again."""
        self.w, self.begun = weights, begun
        self.device = weights.device
        self.group = weights.heads // weights.kv_heads
        self.chains: list[Chain] = []

    def prefill(self, prompt_ids: list[int], rows: int, max_new: int) -> torch.Tensor:
        """Logits (1, V) after the prompt; room is made for `rows` rows."""
        count = len(prompt_ids)
        self.prompt, self.rows = prompt_ids, rows
        self._allocate(count + rows * min(max_new, _FIRST_STEPS))
        self.rotation = self.w.rotations(count + max_new)  # (P + max_new, D/2)
        self.position = count
        self.used = self._begin()
        tokens = torch.tensor(prompt_ids, device=self.device)
        for first in range(self.used, count, _PREFILL_CHUNK):
            part = tokens[first : first + _PREFILL_CHUNK]
            end = first + len(part)
            mask = torch.full((len(part), end), -torch.inf, dtype=self.w.dtype, device=self.device).triu(first + 1)
            hidden = self._layers(part, self.rotation[first:end], mask, slice(first, end))
            self.used = end
        self.mask = torch.zeros(
            rows, count, dtype=self.w.dtype, device=self.device
        )  # every row descends from the prompt
        return self.w.logits(hidden[-1:])

    def _begin(self) -> int:
        """Takes over the keys and values of the tokens that the prompt begins with as `begun` does; how many."""
        if self.begun is None:
            return 0
        ids, keys, values = self.begun
        most = min(len(ids), len(self.prompt) - 1)  # the last one's hidden state is asked for
        same = next((at for at in range(most) if ids[at] != self.prompt[at]), most)
        self.keys[:, :, :same] = keys[:, :, :same]
        self.values[:, :, :same] = values[:, :, :same]
        return same

    def prompt_past(self) -> "Begun":
        """The prompt's own keys and values, for another forward to begin with; directly after `prefill`."""
        count = len(self.prompt)
        return self.prompt, self.keys[:, :, :count].clone(), self.values[:, :, :count].clone()

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Logits (R, V) after `tokens` (R,) int64, where row i goes on from row parents[i] of the step before."""
        return self.logits([self.request(tokens, parents)])

    def logits(self, request: Request) -> torch.Tensor:
        """Logits (M, V) of this run's parts of one forward, joined with other runs of the same weights."""
        return self.w.batcher.step(request, self.w.batched_logits)

    def request(self, tokens: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, "_Part"]:
        """What `step` asks of a forward; the rows are nodes of the tree from now on."""
        rows = len(tokens)
        self.mask = self.mask[parents]
        self.room(rows)
        own = torch.full((rows, rows), -torch.inf, dtype=self.w.dtype, device=self.device).fill_diagonal_(0.0)
        self.mask = torch.cat((self.widened(self.mask), own), dim=1)  # (R, nodes)
        rotation = self.rotation[self.position : self.position + 1]
        self.position += 1
        return tokens, self.part(rotation, self.mask)

    def part(self, rotation: torch.Tensor, mask: torch.Tensor) -> "_Part":
        """The new nodes at the end of `mask` (M, nodes), with their places."""
        first, self.used = self.used, self.used + len(mask)
        return _Part(self, rotation, mask, slice(first, self.used))

    def placed(self, rotation: torch.Tensor, mask: torch.Tensor, place: torch.Tensor) -> "_Part":
        """New tokens whose keys and values are kept at `place` (M,), by a caller that says what each sees."""
        return _Part(self, rotation, mask, place)

    def widened(self, mask: torch.Tensor) -> torch.Tensor:
        """`mask` (M, n) over all nodes there are; those that came since are no ancestors."""
        return F.pad(mask, (0, self.used - mask.shape[1]), value=-torch.inf)

    def _allocate(self, nodes: int) -> None:
        nodes = -(-nodes // 64) * 64  # a GPU's attention kernels like round sizes
        shape = (len(self.w.layers), self.w.kv_heads, nodes, self.w.head_dim)
        self.keys = torch.empty(shape, dtype=self.w.dtype, device=self.device)
        self.values = torch.empty_like(self.keys)

    def room(self, rows: int) -> None:
        """Makes room for `rows` nodes: clears away those that nothing live descends from; grows the memory if that
        frees under a quarter."""
        if self.used + rows <= self.keys.shape[2]:
            return
        own, *masks = [self.widened(mask) for mask in (self.mask, *(chain.mask for chain in self.chains))]
        alive = (torch.cat([own, *masks]) == 0).any(0).nonzero()[:, 0]  # (nodes that stay,)
        self.mask = own[:, alive]
        for chain, mask in zip(self.chains, masks, strict=True):
            chain.mask = mask[:, alive]
        self._keep(alive, rows)

    def _keep(self, alive: torch.Tensor, rows: int) -> bool:
        """Moves the keys and values of the nodes `alive` to the front; True if that took new, larger memory."""
        keys, values, size = self.keys, self.values, self.keys.shape[2]
        grown = len(alive) + rows > 0.75 * size
        if grown:
            self._allocate(size + size // 2 + rows)
        self.keys[:, :, : len(alive)] = keys[:, :, alive]
        self.values[:, :, : len(alive)] = values[:, :, alive]
        self.used = len(alive)
        return grown

    def _layers(self, tokens: torch.Tensor, rotation: torch.Tensor, mask: torch.Tensor, place) -> torch.Tensor:
        """Hidden states (M, hidden) of M new nodes of this run alone; see `_Part`."""
        return self.w.hidden_states(tokens, [_Part(self, rotation, mask, place)])

    def attend(self, i: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, part: "_Part") -> torch.Tensor:
        """(M, Hq·D): layer i's attention of new nodes; keeps k and v."""
        self.keys[i, :, part.place] = k.transpose(0, 1)
        self.values[i, :, part.place] = v.transpose(0, 1)
        return self._mix(q, self.keys[i, :, : part.end], self.values[i, :, : part.end], part.mask)

    def _mix(self, q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(M, Hq·D) from q (M, Hq, D) over keys and values (Hkv, nodes, D)."""
        rows, heads, dim = q.shape
        q = q.view(rows, -1, self.group, dim).transpose(0, 1).reshape(-1, rows * self.group, dim)  # (Hkv, M·G, D)
        mixed = F.scaled_dot_product_attention(q[None], keys[None], values[None], attn_mask=mask[None])[0]
        return mixed.view(-1, rows, self.group, dim).transpose(0, 1).reshape(rows, heads * dim)


class Chain:
    """A text that goes on from the prompt by several tokens a forward, of which the first so many stay."""

    def __init__(self, forward: FusedLlamaForward):
        """After the prompt was read."""
        self._forward, self.position = forward, forward.position
        self.mask = torch.zeros(1, len(forward.prompt), dtype=forward.w.dtype, device=forward.device)  # (1, nodes)
        forward.chains.append(self)

    def request(self, tokens: list[int]) -> tuple[torch.Tensor, "_Part"]:
        """What a forward is asked for the logits after each of `tokens`, which follow one another."""
        forward, count = self._forward, len(tokens)
        forward.room(count)
        own = torch.full((count, count), -torch.inf, dtype=forward.w.dtype, device=forward.device).triu(1)
        self.mask = torch.cat((forward.widened(self.mask).expand(count, -1), own), dim=1)
        rotation = forward.rotation[self.position : self.position + count]
        return torch.tensor(tokens, device=forward.device), forward.part(rotation, self.mask)

    def keep(self, count: int) -> None:
        """The first `count` of the latest tokens, at least one, belong to the text."""
        self.mask = self.mask[count - 1 : count]
        self.position += count


Begun = tuple[list[int], torch.Tensor, torch.Tensor]
"""A prompt's ids (T,) and its keys and values [layers, kv heads, T, D]."""


class _Part:
    """What one run brings to a forward of M new nodes besides their tokens.

    rotation (M or 1, D/2): of their positions; mask (M, nodes): 0 where a new node descends from a node (or is it) and
    −inf elsewhere; place: where their keys and values are kept, a slice or indices.
    """

    def __init__(self, forward: FusedLlamaForward, rotation: torch.Tensor, mask: torch.Tensor, place):
        self.rows, self.end = mask.shape
        self.rotation, self.place = rotation, place
        group = forward.group
        self.mask = mask[:, None].expand(-1, group, -1).reshape(1, self.rows * group, self.end)
        self._forward = forward

    def attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """See FusedLlamaForward.attend."""
        return self._forward.attend(layer, q, k, v, self)


def rotated(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """x (M, H, D) rotated by `rotation` (M or 1, D/2) complex."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))  # (M, H, D/2)
    return torch.view_as_real(pairs * rotation[:, None]).flatten(-2).to(x.dtype)
