"""What a vote's log of events adds up to: contestants, answers, pairs that were shown, votes. Knows no files and no page.

The events, in the order in which they may come (each also has `t`, seconds since 1970):

opened   version, session_id, config, settings, contestants, salt
answers  prompt (its number), text, answers (one a contestant, null where none could be made), asker, error
pair     pair (its id), voter, prompt, left, right (contestants' numbers)
vote     pair, choice
undo     pair: its vote counts no more, and the pair is not shown again, as its contestants have been named
closed   reason ("owner" or "enough")
data     dataset_id: the votes were added to it as preferences
"""

from dataclasses import dataclass, field
from typing import Any

from llmdemo.core.errors import UserError

VERSION = 1
"""Of the events; a log with a higher one is refused."""
CHOICES = ("left", "right", "tie", "both_bad")


@dataclass
class Pair:
    """Two answers as they were shown to one voter."""

    pair_id: str
    voter: str
    prompt: int
    left: int
    right: int
    shown: float
    choice: str = ""
    """One of CHOICES; "" while it is open or after its vote was taken back."""
    voted: float = 0.0
    undone: bool = False

    @property
    def item(self) -> tuple[int, int, int]:
        """(prompt, contestant, contestant), whatever the order in which they were shown."""
        return self.prompt, min(self.left, self.right), max(self.left, self.right)


@dataclass
class Asked:
    """A prompt and its answers."""

    text: str
    answers: list[str | None]
    asker: str = ""
    """The voter who asked, and alone votes on it; "" for the vote's own prompts."""
    error: str = ""


@dataclass
class Voter:
    """What one voter has been shown."""

    number: int
    seen: set[tuple[int, int, int]] = field(default_factory=set)
    open: Pair | None = None
    last: Pair | None = None
    """The vote that may be taken back."""
    votes: int = 0
    asked: int = 0


@dataclass
class VoteState:
    """One vote; `apply` every event of its log in order."""

    session_id: str = ""
    opened: float = 0.0
    config: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    contestants: list[dict[str, Any]] = field(default_factory=list)
    salt: str = ""
    asked: dict[int, Asked] = field(default_factory=dict)
    pairs: dict[str, Pair] = field(default_factory=dict)
    voters: dict[str, Voter] = field(default_factory=dict)
    closed: str = ""
    datasets: list[str] = field(default_factory=list)
    """Preference data sets that have been made of the votes."""
    count: int = 0
    """Votes that stand."""
    changes: int = 0
    """Grows with each event that changes the board."""
    load: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """How many voters have been shown each item of two answers that differ."""

    def apply(self, event: dict[str, Any]) -> None:
        """Takes the next event. Raises UserError for a log of a later version of the app."""
        getattr(self, f"_{event['type']}", lambda _: None)(event)

    def _opened(self, event: dict[str, Any]) -> None:
        if event["version"] > VERSION:
            raise UserError("err_vote_newer")
        self.session_id, self.opened = event["session_id"], event["t"]
        self.config, self.settings = event["config"], event["settings"]
        self.contestants, self.salt = event["contestants"], event["salt"]

    def _answers(self, event: dict[str, Any]) -> None:
        if event["prompt"] in self.asked:
            return
        asked = Asked(event["text"], event["answers"], event.get("asker", ""), event.get("error", ""))
        self.asked[event["prompt"]] = asked
        self.changes += 1
        if asked.asker:
            self.voter(asked.asker).asked += 1
        self.load.update(dict.fromkeys(items_of(event["prompt"], asked), 0))

    def _pair(self, event: dict[str, Any]) -> None:
        pair = Pair(event["pair"], event["voter"], event["prompt"], event["left"], event["right"], event["t"])
        voter = self.voter(pair.voter)
        voter.open, self.pairs[pair.pair_id] = pair, pair
        voter.seen.add(pair.item)
        self.load[pair.item] = self.load.get(pair.item, 0) + 1

    def _vote(self, event: dict[str, Any]) -> None:
        pair = self.pairs[event["pair"]]
        if pair.choice or pair.undone:
            return
        pair.choice, pair.voted = event["choice"], event["t"]
        voter = self.voter(pair.voter)
        voter.open, voter.last = None, pair
        voter.votes += 1
        self.count += 1
        self.changes += 1

    def _undo(self, event: dict[str, Any]) -> None:
        pair = self.pairs[event["pair"]]
        if not pair.choice:
            return
        pair.choice, pair.undone = "", True
        voter = self.voter(pair.voter)
        voter.last = None
        voter.votes -= 1
        self.count -= 1
        self.changes += 1

    def _closed(self, event: dict[str, Any]) -> None:
        self.closed = event["reason"]
        self.changes += 1

    def _data(self, event: dict[str, Any]) -> None:
        self.datasets.append(event["dataset_id"])

    def voter(self, name: str) -> Voter:
        """The voter of that name, who is a new one at the first time."""
        if name not in self.voters:
            self.voters[name] = Voter(len(self.voters) + 1)
        return self.voters[name]

    @property
    def votes(self) -> list[Pair]:
        """The votes that stand, in the order of their pairs."""
        return [pair for pair in self.pairs.values() if pair.choice]

    @property
    def own(self) -> list[str]:
        """The vote's own prompts; number i is the i-th."""
        return self.config["prompts"]

    @property
    def missing(self) -> list[int]:
        """Numbers of the vote's own prompts that have no answers yet."""
        return [number for number in range(len(self.own)) if number not in self.asked]

    def candidates(self, name: str) -> list[tuple[int, int, int]]:
        """The items that this voter may be shown next: unseen ones that the fewest have been shown."""
        seen = self.voters[name].seen if name in self.voters else set()
        free = [item for item in self.load if item not in seen and self.asked[item[0]].asker in ("", name)]
        least = min((self.load[item] for item in free), default=0)
        return [item for item in free if self.load[item] == least]


def items_of(number: int, asked: Asked) -> list[tuple[int, int, int]]:
    """(prompt, contestant, contestant) of every two answers that differ."""
    texts = [None if text is None else text.strip() for text in asked.answers]
    return [
        (number, first, second)
        for first in range(len(texts))
        for second in range(first + 1, len(texts))
        if texts[first] is not None and texts[second] is not None and texts[first] != texts[second]
    ]
