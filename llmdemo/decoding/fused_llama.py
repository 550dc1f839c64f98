"""A fused forward pass for plain Llama-family models, on the model's own weights. Knows no lanes.

What makes it faster than the model's own forward at a few rows:
- One KV cache for all rows, with tree attention: every (step, row) is a node of a tree whose root is the prompt, and a
  mask (rows, nodes) marks each row's ancestors. Reordering beams permutes the mask and copies no keys or values.
  Nodes without a live descendant are dropped when the cache is full.
- On a CPU whose machine has gcc, all layers in one piece of C (few_rows.py). What follows is for where there is none, and for many rows.
- Fused projections: q, k, v are one linear, gate and up another, with weights packed for few rows, in fp16 where that
  holds them exactly (linears.py).
- Rotary embedding as one complex product: the rows of the q and k weights are permuted so that the two halves of a
  rotated pair are adjacent, which changes no dot product of q and k.
- Dynamic batching (step_batcher.py): concurrent comparisons share every linear; attention is computed per comparison.
- A text that goes on by several tokens at once (Chain) is one more branch of the tree, in the same forward.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F

from llmdemo.decoding.few_rows import ROUND, WHOLE, CompiledLayers, CompiledLinear, form_for, has_amx
from llmdemo.decoding.kv_slots import Slot, SlotPart, Slots, beside, merged
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
from llmdemo.decoding.prefixes import Prefix, Prefixes
from llmdemo.decoding.step_batcher import StepBatcher
from llmdemo.decoding.thread_budget import ThreadBudget

PACK_ROWS = 8
_PREFILL_CHUNK, _SHARED_CHUNK = 512, 128
"""Tokens of a prompt in one forward; while others decode, who would wait for them."""
_HEAD_ROWS = 64
"""Rows of log-probabilities that are made at once where all of a prompt's are wanted."""
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


Parts = list[tuple[torch.Tensor, SlotPart]]
"""What one run asks of a forward: the new tokens (M,) of each of its parts."""


class FusedLlamaWeights:
    """A plain Llama's weights, fused and packed. Built once per model; `plain_llama` (backend.py) says for which models."""

    def __init__(self, model, dtype: torch.dtype, int8: bool = False, threads: ThreadBudget | None = None):
        config, inner = model.config, model.model
        self.device = inner.embed_tokens.weight.device
        self.batcher: StepBatcher = StepBatcher(threads or ThreadBudget(self.device))
        self.prefixes = Prefixes()
        self.dtype = (
            torch.float32 if dtype == torch.bfloat16 and self.device.type == "cpu" and not cpu_has_bf16() else dtype
        )
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        self._epsilon = torch.tensor(self.eps, dtype=torch.float32)
        self.rotary = inner.rotary_emb
        # longrope turns the positions of a long text by other angles than those of a short one
        self.turns_alike = getattr(self.rotary, "rope_type", "") != "longrope"
        self.embedding = inner.embed_tokens.weight.detach()  # (V, hidden), the model's own
        self.int8 = int8 and can_int8(self.device)
        self.use_packed = can_pack(self.device, self.dtype)
        self.use_fp16 = self.dtype == torch.float32 and can_fp16(self.device)
        self._form = self._compiled_form(model)
        self.error: float | None = None
        """Relative distance of the logits from the model's own, once backend.py has measured it."""
        self.layers = [self._layer(layer) for layer in inner.layers]
        self.compiled = CompiledLayers(self, self.layers) if self._form is not None else None
        self.slots = Slots(len(self.layers), self.kv_heads, self.head_dim, self.dtype, self.device)
        self.norm = self._norm_weight(inner.norm)
        self.head = self._linear([model.lm_head])
        self.vocabulary = model.lm_head.weight.shape[0]

    def _compiled_form(self, model) -> int | None:
        """How few_rows.py keeps this model's weights, or None where others' products are taken."""
        if self.device.type != "cpu" or self.int8 or self.head_dim % ROUND:
            return None
        weights = [module.weight.detach() for module in model.modules() if isinstance(module, torch.nn.Linear)]
        form = form_for(self.dtype, weights)
        fp16 = form == WHOLE and self.use_fp16 and all(fp16_scale(weight) is not None for weight in weights)
        return None if fp16 else form  # half the bytes

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().to(self.dtype)

    def _norm_weight(self, norm) -> torch.Tensor:
        """(hidden,), as `_normed` wants it."""
        weight = self._cast(norm.weight)
        return weight.float() if self.device.type == "cpu" else weight

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMSNorm of x (M, hidden)."""
        if self.device.type != "cpu":
            return F.rms_norm(x, (x.shape[-1],), weight, self.eps)
        # the same in fewer operations than torch's, each of which takes longer to begin than to compute
        wide = x.float()
        squares = wide.square().sum(-1, keepdim=True)  # (M, 1)
        scale = torch.add(self._epsilon, squares, alpha=1 / x.shape[-1]).rsqrt_()
        return (wide * scale).mul_(weight).to(self.dtype)

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
        if self._form is not None:
            return CompiledLinear(weight, bias, self._form, self._many(parts, rotated))
        if self.use_fp16 and fp16_scale(weight) is not None:
            return Fp16Linear(weight, bias)
        return PackedLinear(weight, bias, PACK_ROWS) if self.use_packed else Linear(weight, bias)

    def _many(self, parts, rotated: int) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """What `_linear` of the same gives for many rows, by the model's own weights; None: it is no faster, or they are of another type."""
        if self.dtype != torch.bfloat16 or parts[0].weight.dtype != self.dtype or not has_amx():
            return None

        def product(x: torch.Tensor) -> torch.Tensor:
            every = [F.linear(x, part.weight, part.bias) for part in parts]
            every[:rotated] = [self._paired(y.t()).t() for y in every[:rotated]]
            return torch.cat(every, 1) if len(every) > 1 else every[0]

        return product

    def _paired(self, tensor: torch.Tensor) -> torch.Tensor:
        """Rows (H·D, …): element i and i + D/2 of a head, a pair of the rotation, side by side."""
        shape = tensor.shape
        halves = tensor.view(-1, 2, self.head_dim // 2, *shape[1:])
        return halves.transpose(1, 2).reshape(shape)

    def _layer(self, layer):
        attention, mlp = layer.self_attn, layer.mlp
        return (
            self._norm_weight(layer.input_layernorm),
            self._linear([attention.q_proj, attention.k_proj, attention.v_proj], rotated=2),
            self._linear([attention.o_proj]),
            self._norm_weight(layer.post_attention_layernorm),
            self._linear([mlp.gate_proj, mlp.up_proj]),
            self._linear([mlp.down_proj]),
        )

    def hidden_states(self, tokens: torch.Tensor, parts: Sequence[Part]) -> torch.Tensor:
        """(M, hidden) of the M new nodes of all `parts`, whose tokens follow one another in `tokens` (M,)."""
        hidden = F.embedding(tokens, self.embedding).to(self.dtype)
        if self.compiled and self.compiled.takes(parts):
            return self.compiled(hidden.float(), parts)
        sizes, heads = [part.rows for part in parts], (self.heads, self.kv_heads, self.kv_heads)
        # of all parts at once: sixteen requests would be sixteen times as many small operations
        rotation = (
            torch.cat([part.rotation.expand(part.rows, -1) for part in parts]) if len(parts) > 1 else parts[0].rotation
        )
        for i, (norm1, qkv, out, norm2, gate_up, down) in enumerate(self.layers):
            x = qkv(self._normed(hidden, norm1)).view(len(tokens), -1, self.head_dim)  # (M, Hq + 2·Hkv, D)
            rotate_(x[:, : -self.kv_heads], rotation)
            q, k, v = x.split(heads, 1)
            if len(parts) > 1:
                own = zip(q.split(sizes), k.split(sizes), v.split(sizes), strict=True)
                mixed = torch.cat([part.attend(i, *each) for part, each in zip(parts, own, strict=True)])
            else:
                mixed = parts[0].attend(i, q, k, v)
            hidden = out.plus(hidden, mixed)
            gate, up = gate_up(self._normed(hidden, norm2)).chunk(2, -1)
            hidden = down.plus(hidden, F.silu(gate).mul_(up))
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(M, V) of hidden states (M, hidden)."""
        return self.head(self._normed(hidden, self.norm))

    def batched_logits(self, requests: Sequence[Parts]) -> list[torch.Tensor]:
        """Logits (M, V) of each request, over its parts one after another, from one forward over all of them."""
        every = [each for request in requests for each in request]
        order = sorted(range(len(every)), key=lambda at: beside(every[at][1]))
        tokens, parts = torch.cat([every[at][0] for at in order]), [every[at][1] for at in order]
        hidden = dict(
            zip(order, self.hidden_states(tokens, self._joined(parts)).split([p.rows for p in parts]), strict=True)
        )
        wanted = [hidden[at][part.rows - part.logits :] for at, (_, part) in enumerate(every)]
        self._tell_surprise([(hidden[at], part) for at, (_, part) in enumerate(every) if len(part.following)])
        sizes = [sum(part.logits for _, part in request) for request in requests]
        return list(self.logits(torch.cat(wanted) if len(wanted) > 1 else wanted[0]).split(sizes))

    def _joined(self, parts: list[SlotPart]) -> Sequence[Part]:
        return parts if self.compiled and self.compiled.takes(parts) else list(merged(parts))

    def _tell_surprise(self, told: list[tuple[torch.Tensor, SlotPart]]) -> None:
        """Sets `surprise` of each part, whose hidden states these are."""
        if not told:
            return
        hidden = torch.cat([states[: len(part.following)] for states, part in told])
        following = torch.cat([part.following for _, part in told])
        found = [
            F.cross_entropy(self.logits(some).float(), ids, reduction="none")
            for some, ids in zip(hidden.split(_HEAD_ROWS), following.split(_HEAD_ROWS), strict=True)
        ]
        sizes = [len(part.following) for _, part in told]
        for (_, part), own in zip(told, torch.cat(found).split(sizes), strict=True):
            part.surprise = own

    def rotations(self, length: int) -> torch.Tensor:
        """(length, D/2) complex64: the rotation of each position, from the model's own rotary embedding."""
        probe = torch.zeros(1, dtype=torch.float32, device=self.device)
        cos, sin = self.rotary(probe, torch.arange(length, device=self.device)[None])  # (1, length, D) both
        half = self.head_dim // 2
        return torch.complex(cos[0, :, :half].float(), sin[0, :, :half].float())


class FusedLlamaForward:
    """Prefill, then one step after another over rows; the same interface as forward.ModelForward."""

    joins = True

    def __init__(self, weights: FusedLlamaWeights):
        self.w = weights
        self.device = weights.device
        # weak, as each refers to this: in a circle, the slot would be taken until garbage is collected
        self.chains: weakref.WeakSet[Chain] = weakref.WeakSet()
        self.surprise = torch.empty(0)
        """(T − 1,) −log p in nats of the prompt's tokens after the first; NaN: not known."""

    def prefill(self, prompt_ids: list[int], rows: int, max_new: int) -> torch.Tensor:
        """Logits (1, V) after the prompt, computed by this run alone; room is made for `rows` rows."""
        self.begin(prompt_ids, rows, max_new)
        for part in self.reading():
            logits = self.w.batched_logits([[part]])[0]
        return logits

    def begin(self, prompt_ids: list[int], rows: int, max_new: int, surprise_of: int = 0) -> None:
        """Makes room for a prompt and what `rows` rows will say; `reading` is next. `surprise_of`: of so many of the prompt's
        last tokens `surprise` is wanted."""
        count = len(prompt_ids)
        self.prompt, self.rows, self._surprise_of = prompt_ids, rows, surprise_of
        self._allocate(count + rows * min(max_new, _FIRST_STEPS))
        self.rotation = self.w.rotations(count + max_new)  # (P + max_new, D/2)
        self.position = count
        self.used = 0
        self.surprise = torch.full((count - 1,), torch.nan, device=self.device)
        if self.w.turns_alike and (found := self.w.prefixes.longest(prompt_ids, bool(surprise_of))):
            prefix, same = found
            self.used = same - bool(surprise_of)  # the last one is read again for the first that differs
            known = prefix.surprise[: self.used]
            self.surprise[: len(known)] = known
            if surprise_of:  # there, only its own last ones may have been asked for
                first = max(0, count - 1 - surprise_of)
                unknown = self.surprise[first : self.used].isnan().nonzero()
                self.used = first + int(unknown[0]) if len(unknown) else self.used
            self.keys[:, :, : self.used] = prefix.keys[:, :, : self.used]
            self.values[:, :, : self.used] = prefix.values[:, :, : self.used]

    def reading(self, is_alone: Callable[[], bool] = lambda: True) -> Iterator[tuple[torch.Tensor, SlotPart]]:
        """The parts that read the prompt, each to be computed before the next; the last one's logits are those after it.
        `is_alone`: whether nobody waits meanwhile."""
        count = len(self.prompt)
        tokens = torch.tensor(self.prompt, device=self.device)
        while (first := self.used) < count:
            end = min(count, first + (_PREFILL_CHUNK if is_alone() else _SHARED_CHUNK))
            mask = torch.full((end - first, end), -torch.inf, dtype=self.w.dtype, device=self.device).triu(first + 1)
            part = self.part(self.rotation[first:end], mask, int(end == count))
            if self._surprise_of and end >= count - self._surprise_of:
                part.following = tokens[first + 1 : end + 1]
            yield tokens[first:end], part
            self.surprise[first : first + len(part.surprise)] = part.surprise
        self.mask = torch.zeros(self.rows, count, dtype=self.w.dtype, device=self.device)  # all rows descend from it
        self.w.prefixes.add(Prefix(self.prompt, self.keys, self.values, self.surprise, bool(self._surprise_of)))

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Logits (R, V) after `tokens` (R,) int64, where row i goes on from row parents[i] of the step before."""
        return self.w.batched_logits([[self.request(tokens, parents)]])[0]

    def request(self, tokens: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, SlotPart]:
        """What `step` asks of a forward; the rows are nodes of the tree from now on."""
        rows = len(tokens)
        self.mask = self.mask[parents]
        self.room(rows)
        own = torch.full((rows, rows), -torch.inf, dtype=self.w.dtype, device=self.device).fill_diagonal_(0.0)
        self.mask = torch.cat((self.widened(self.mask), own), dim=1)  # (R, nodes)
        rotation = self.rotation[self.position : self.position + 1]
        self.position += 1
        return tokens, self.part(rotation, self.mask)

    def part(self, rotation: torch.Tensor, mask: torch.Tensor, logits: int | None = None) -> SlotPart:
        """The new nodes at the end of `mask` (M, nodes), with their places."""
        first, self.used = self.used, self.used + len(mask)
        return SlotPart(self.keys, self.values, rotation, mask, slice(first, self.used), self.slot, logits)

    def placed(self, rotation: torch.Tensor, mask: torch.Tensor, place: slice | torch.Tensor) -> SlotPart:
        """New tokens whose keys and values are kept at `place`, a slice or (M,), by a caller that says what each sees."""
        return SlotPart(self.keys, self.values, rotation, mask, place)

    def widened(self, mask: torch.Tensor) -> torch.Tensor:
        """`mask` (M, n) over all nodes there are; those that came since are no ancestors."""
        return F.pad(mask, (0, self.used - mask.shape[1]), value=-torch.inf)

    def _allocate(self, nodes: int) -> None:
        self.slot: Slot | None = self.w.slots.take(nodes)
        self.keys, self.values = self.slot.keys, self.slot.values

    def room(self, rows: int) -> None:
        """Makes room for `rows` nodes: clears away those that nothing live descends from; grows the memory if that
        frees under a quarter."""
        if self.used + rows <= self.keys.shape[2]:
            return
        chains = list(self.chains)
        own, *masks = [self.widened(mask) for mask in (self.mask, *(chain.mask for chain in chains))]
        alive = (torch.cat([own, *masks]) == 0).any(0).nonzero()[:, 0]  # (nodes that stay,)
        self.mask = own[:, alive]
        for chain, mask in zip(chains, masks, strict=True):
            chain.mask = mask[:, alive]
        self._keep(alive, rows)

    def _keep(self, alive: torch.Tensor, rows: int) -> bool:
        """Moves the keys and values of the nodes `alive` to the front; True if that took new, larger memory."""
        keys, values, size = self.keys, self.values, self.keys.shape[2]
        before = self.slot  # others may have it once nobody refers to it
        grown = len(alive) + rows > 0.75 * size
        if grown:
            self._allocate(size + size // 2 + rows)
        self.keys[:, :, : len(alive)] = keys[:, :, alive]
        self.values[:, :, : len(alive)] = values[:, :, alive]
        self.used = len(alive)
        del before
        return grown

    def _layers(self, tokens: torch.Tensor, rotation: torch.Tensor, mask: torch.Tensor, place) -> torch.Tensor:
        """Hidden states (M, hidden) of M new nodes of this run alone; see `_Part`."""
        return self.w.hidden_states(tokens, [self.placed(rotation, mask, place)])


class Chain:
    """A text that goes on from the prompt by several tokens a forward, of which the first so many stay."""

    def __init__(self, forward: FusedLlamaForward):
        """After the prompt was read."""
        self._forward, self.position = forward, forward.position
        self.mask = torch.zeros(1, len(forward.prompt), dtype=forward.w.dtype, device=forward.device)  # (1, nodes)
        forward.chains.add(self)

    def request(self, tokens: list[int]) -> tuple[torch.Tensor, SlotPart]:
        """What a forward is asked for the logits after each of `tokens`, which follow one another."""
        forward, count = self._forward, len(tokens)
        forward.room(count)
        own = torch.full((count, count), -torch.inf, dtype=forward.w.dtype, device=forward.device).triu(1)
        self.mask = torch.cat((forward.widened(self.mask).expand(count, -1), own), dim=1)
        rotation = forward.rotation[self.position : self.position + count]
        part = forward.part(rotation, self.mask)
        part.slot = None  # the rows of the same run have that one
        return torch.tensor(tokens, device=forward.device), part

    def keep(self, count: int) -> None:
        """The first `count` of the latest tokens, at least one, belong to the text."""
        self.mask = self.mask[count - 1 : count]
        self.position += count


def rotate_(x: torch.Tensor, rotation: torch.Tensor) -> None:
    """Rotates x (M, H, D) in place by `rotation` (M or 1, D/2) complex."""
    wide = x.float()
    torch.view_as_complex(wide.view(*x.shape[:-1], -1, 2)).mul_(rotation[:, None])  # (M, H, D/2)
    if wide is not x:
        x.copy_(wide)
