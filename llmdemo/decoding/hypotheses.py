"""What all beam searches share on the host: the tree of hypotheses, a finished one, and the lane's summary. No tensors."""

from llmdemo.decoding.steps import Branch, Finished, LaneResult, Sequence

Nodes = list[tuple[int, int, float]]
"""A tree: (parent's place or -1 for the prompt, token, its log-probability) of each node."""


def path_to(nodes: Nodes, node: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Token ids and log-probabilities from the prompt to `node`."""
    tokens, logprobs = [], []
    while node >= 0:
        node, token, logprob = nodes[node]
        tokens.append(token)
        logprobs.append(logprob)
    return tuple(reversed(tokens)), tuple(reversed(logprobs))


def finished(branch: Branch, sequence_score: float) -> Finished:
    """The branch as a hypothesis that has ended."""
    return Finished(branch.parent, branch.token, branch.logprob, branch.score, sequence_score)


def search_result(
    lane: str, found: tuple[Sequence, ...], seconds: float, *, generated: int, forwards: int
) -> LaneResult:
    """The summary of a search that `found` these texts, best first, `seconds` after the start."""
    first = found[0]
    return LaneResult(
        lane=lane,
        token_ids=first.token_ids,
        logprobs=first.logprobs,
        finish_reason=first.finish_reason,
        seconds=seconds,
        tokens_per_second=len(first.token_ids) / max(seconds, 1e-9),
        score=first.score,
        sequences=found,
        generated=generated,
        forwards=forwards,
    )
