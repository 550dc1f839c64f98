"""Whose turn it is: one from each visitor, then a second from each. Knows no queue, no HTTP and no page."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping


def fair_order(
    waiting: list, who: Callable, busy: Iterable[str] = (), served: Mapping[str, float] | None = None
) -> list:
    """`waiting` in the order in which it is served: round after round, one item a visitor in each.

    `who(item)` names its visitor; `busy` are the visitors who are being served now, once for each item, and so have had
    their share of the first rounds; `served` says when a visitor was last served: within a round, who has waited
    longest since then comes first. A visitor's own items keep their order.
    """
    served = served or {}
    rounds = Counter(busy)
    places = []
    for arrival, item in enumerate(waiting):
        visitor = who(item)
        places.append((rounds[visitor], served.get(visitor, 0.0), arrival))
        rounds[visitor] += 1
    return [waiting[arrival] for _, _, arrival in sorted(places)]
