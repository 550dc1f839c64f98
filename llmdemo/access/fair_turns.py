"""Whose turn it is: one from each visitor, then a second from each. Knows no queue, no HTTP and no page.

Guests are told apart by a cookie, and a script may hold fifty. So an address counts too, but not as one: a school's
forty pupils share theirs. In a round with others it has at most ten turns, however many visitors it claims to be.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
Turn = tuple[int, float, int]
"""The round, when the visitor was last served, and the place in the order of arrival."""
MOST_OF_ADDRESS = 10
"""Turns of one address in a round."""


def fair_order(
    waiting: list[T],
    who: Callable[[T], str],
    busy: Iterable[str] = (),
    served: Mapping[str, float] | None = None,
    where: Callable[[T], str] | None = None,
    busy_addresses: Iterable[str] = (),
) -> list[T]:
    """`waiting` in the order in which it is served: round after round, one item a visitor in each.

    `who(item)` names its visitor; `busy` are the visitors who are being served now, once for each item, and so have had
    their share of the first rounds; `served` says when a visitor was last served: within a round, who has waited
    longest since then comes first. A visitor's own items keep their order. `where(item)` is its address, "" for one
    that does not count; of `busy_addresses` some are being served now.
    """
    served = served or {}
    rounds = Counter(busy)
    places = []
    for arrival, item in enumerate(waiting):
        visitor = who(item)
        places.append((rounds[visitor], served.get(visitor, 0.0), arrival))
        rounds[visitor] += 1
    places.sort()
    if where:
        places = sorted(_by_address(places, [where(item) for item in waiting], Counter(busy_addresses)))
    return [waiting[arrival] for _, _, arrival in places]


def _by_address(places: list[Turn], addresses: list[str], taken: Counter[str]) -> Iterable[Turn]:
    """`places` (round, served, arrival), in order, with the later rounds of what is past an address's share."""
    for turn, since, arrival in places:
        address = addresses[arrival]
        yield max(turn, taken[address] // MOST_OF_ADDRESS) if address else turn, since, arrival
        taken[address] += 1
