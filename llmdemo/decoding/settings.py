"""What a person may set for a comparison, checked before any model runs. Knows no torch, no tokens, no page.

`DecodeSettings.from_dict` is the only door: whatever comes from a page or an API call is either a
`DecodeSettings` whose every value is usable, or a UserError that names the value and what is valid.
"""

from dataclasses import asdict, dataclass, fields, replace

from llmdemo.errors import UserError

STRATEGIES = ("greedy", "top_k", "top_p", "min_p", "sample", "beam")
"""Every way of choosing the next token; "sample" draws from the whole distribution."""
PRECISIONS = ("auto", "fp32", "bf16", "int8")
"""Number formats of the weights; "auto" is the one that the model was loaded in."""
DEFAULT_LANES = ("greedy", "top_k", "top_p", "beam")
MAX_NEW_TOKENS = 1024
MAX_BEAMS = 16
MAX_ROWS = 32
"""Most rows (one a sampling lane, one a beam) that one forward may carry."""
_MAX_NAME = 40


@dataclass(frozen=True)
class LaneSettings:
    """One lane as resolved: what is decoded, under which name, with which values. Off is 0 for top_k and min_p, 1 for top_p."""

    name: str
    """Unique in a comparison; also seeds the lane, so that the same name and seed give the same text."""
    strategy: str
    """One of STRATEGIES."""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    draws: str = ""
    """Seeds the lane in place of its name: lanes that share it draw with the same random numbers, so that what differs
    between them comes from their settings alone."""

    @property
    def samples(self) -> bool:
        """True for lanes that draw at random."""
        return self.strategy not in ("greedy", "beam")

    def to_dict(self) -> dict:
        """The values that matter to this lane's strategy, name and strategy first."""
        keys = {"greedy": (), "beam": ("num_beams", "length_penalty", "early_stopping")}
        used = keys.get(self.strategy, ("temperature", "top_k", "top_p", "min_p"))
        draws = {"draws": self.draws} if self.draws and self.samples else {}
        return {"name": self.name, "strategy": self.strategy, **{key: getattr(self, key) for key in used}, **draws}


@dataclass(frozen=True)
class DecodeSettings:
    """All settings of one comparison. Built directly it is not checked; `from_dict` checks."""

    max_new_tokens: int = 64
    """Most tokens that a lane generates."""
    temperature: float = 1.0
    """Divides the logits of sampling lanes, before any filter."""
    top_k: int = 50
    """How many tokens the top_k lane keeps."""
    top_p: float = 0.9
    """The mass that the top_p lane keeps, the crossing token included."""
    min_p: float = 0.05
    """The min_p lane keeps tokens at least this share as likely as the likeliest."""
    num_beams: int = 4
    """Beams of the beam lane."""
    length_penalty: float = 1.0
    """A hypothesis' score is its log-probability / length**length_penalty."""
    early_stopping: bool | str = False
    """False, True or "never", as in transformers' generate."""
    seed: int = 0
    """With a lane's name, seeds that lane's generator."""
    precision: str = "auto"
    """One of PRECISIONS."""
    lanes: tuple[LaneSettings, ...] = ()
    """The lanes as resolved; empty means the four of DEFAULT_LANES with the values above."""

    def __post_init__(self):
        if not self.lanes:
            object.__setattr__(self, "lanes", tuple(self._lane(name, name, {}) for name in DEFAULT_LANES))

    @classmethod
    def from_dict(cls, values: dict | None = None, limits=None) -> "DecodeSettings":
        """Settings from JSON-like `values`; missing keys take their defaults.

        `lanes` is a list whose items are a strategy's name, or {"strategy", "name"?, and any of the values
        above to differ in}: [{"strategy": "top_p", "name": "narrow", "top_p": 0.5}, "greedy"]. `limits` are
        the app's Settings, or None. Raises UserError on the first bad value.
        """
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise UserError(
                f"The settings are a {type(values).__name__}.", 'Give an object such as {"max_new_tokens": 64}.'
            )
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise UserError(f"There is no setting called {_show(key)}.", f"Valid settings are {', '.join(known)}.")
        checked = _checked({k: v for k, v in values.items() if k != "lanes" and v is not None}, limits, "")
        base = cls(**checked)
        lanes = _lanes(base, values.get("lanes"), limits)
        _check_rows(lanes)
        return replace(base, lanes=lanes)

    def _lane(self, name: str, strategy: str, over: dict) -> LaneSettings:
        """The lane `strategy` with this object's values, changed by `over`; only its own filter is on unless `over` says more."""
        own = {"top_k": ("top_k",), "top_p": ("top_p",), "min_p": ("min_p",)}.get(strategy, ())
        if strategy == "beam":
            own = ("num_beams", "length_penalty", "early_stopping")
        if strategy not in ("greedy", "beam"):
            own += ("temperature",)
        values = {**{key: getattr(self, key) for key in own}, **over}
        if strategy not in ("greedy", "beam") and values["temperature"] == 0:
            return LaneSettings(name, "greedy")  # the limit of sampling; the lane keeps its name
        return LaneSettings(name, strategy, **values)

    @property
    def rows(self) -> int:
        """Rows of one forward while every lane is live: one a sampling lane, one a beam."""
        return sum(lane.num_beams for lane in self.lanes)

    def to_dict(self) -> dict:
        """JSON-like; `from_dict(settings.to_dict())` equals settings."""
        return {**asdict(self), "lanes": [lane.to_dict() for lane in self.lanes]}


def _integer(low: int, high: int):
    def check(value):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return value if type(value) is int and low <= value <= high else None

    return check, f"a whole number from {low:,} to {high:,}"


def _real(low: float, high: float, open_low: bool = False):
    def check(value):
        good = type(value) in (int, float) and low <= value <= high and not (open_low and value == low)  # NaN fails too
        return float(value) if good else None

    return check, f"a number {'above' if open_low else 'from'} {low:g} {'and at most' if open_low else 'to'} {high:g}"


def _zero_or(rule):
    """`rule`, but 0 is good too."""
    check, valid = rule
    return (lambda value: 0.0 if type(value) in (int, float) and value == 0 else check(value)), f"0, or {valid}"


def _one_of(*allowed):
    def check(value):
        return next((item for item in allowed if type(item) is type(value) and item == value), None)

    return check, "one of " + ", ".join(_show(item) for item in allowed)


def _rules(limits) -> dict:
    """{setting: (check, what is valid)}; a check returns the clean value, or None when it is bad."""
    return {
        "max_new_tokens": _integer(1, getattr(limits, "max_new_tokens", MAX_NEW_TOKENS)),
        "temperature": _zero_or(_real(0.01, 10.0)),
        "top_k": _integer(1, 1_000_000),
        "top_p": _real(0.0, 1.0, open_low=True),
        "min_p": _real(0.0, 1.0, open_low=True),
        "num_beams": _integer(1, min(getattr(limits, "max_beams", MAX_BEAMS), MAX_ROWS)),
        "length_penalty": _real(-10.0, 10.0),
        "early_stopping": _one_of(False, True, "never"),
        "seed": _integer(0, 2**63 - 1),
        "precision": _one_of(*PRECISIONS),
    }


_REMEDY = {
    "temperature": "0 takes the likeliest token at every step.",
    "top_k": "For no filter use the lane sample.",
    "top_p": "For no filter use 1, or the lane sample.",
}


def _checked(values: dict, limits, where: str, off: dict | None = None) -> dict:
    """`values` made clean; `off` holds the values that mean "filter off" in a lane, valid there too."""
    rules = _rules(limits)
    clean = {}
    for key, value in values.items():
        check, valid = rules[key]
        result = value if off and key in off and type(value) in (int, float) and value == off[key] else check(value)
        if result is None:
            limit = _named(limits, {"num_beams": "max_beams"}.get(key, key))
            raise UserError(
                f"{key}{where} is {_show(value)}.", f"It must be {valid}{limit}. {_REMEDY.get(key, '')}".strip()
            )
        clean[key] = result
    return clean


def _lanes(base: DecodeSettings, items, limits) -> tuple[LaneSettings, ...]:
    if items is None:
        return base.lanes
    if not isinstance(items, (list, tuple)) or not items:
        raise UserError(f"lanes is {_show(items)}.", f"It must be a list with at least one of {', '.join(STRATEGIES)}.")
    most = min(getattr(limits, "max_lanes", MAX_ROWS), MAX_ROWS)
    if len(items) > most:
        raise UserError(
            f"{len(items)} lanes were asked for.", f"At most {most} are possible{_named(limits, 'max_lanes')}."
        )
    lanes = [_one_lane(base, item, limits) for item in items]
    names = [lane.name for lane in lanes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"Two lanes are called {_show(twice)}.", 'Give each a name of its own: {"strategy": …, "name": …}.'
        )
    return tuple(lanes)


def _one_lane(base: DecodeSettings, item, limits) -> LaneSettings:
    item = {"strategy": item} if isinstance(item, str) else item
    own = ("temperature", "top_k", "top_p", "min_p", "num_beams", "length_penalty", "early_stopping")
    if not isinstance(item, dict):
        raise UserError(
            f"A lane is {_show(item)}.", 'Give a strategy\'s name, or an object {"strategy": …, "name": …}.'
        )
    strategy = item.get("strategy")
    if strategy not in STRATEGIES:
        raise UserError(f"A lane's strategy is {_show(strategy)}.", f"It must be one of {', '.join(STRATEGIES)}.")
    name = item.get("name", strategy)
    if not isinstance(name, str) or not 0 < len(name.strip()) <= _MAX_NAME:
        raise UserError(f"A lane's name is {_show(name)}.", f"It must be a text of 1 to {_MAX_NAME} characters.")
    for key in item:
        if key not in own + ("strategy", "name", "draws"):
            raise UserError(
                f"A lane has no setting called {_show(key)}.",
                f"Valid ones are name, strategy, draws, {', '.join(own)}.",
            )
    of_beams = ("num_beams", "length_penalty", "early_stopping")
    used = {"greedy": (), "beam": of_beams}.get(strategy, ("temperature", "top_k", "top_p", "min_p"))
    over = {key: item[key] for key in used if item.get(key) is not None}
    over = _checked(over, limits, f" of lane {_show(name)}", off={"top_k": 0, "top_p": 1.0, "min_p": 0.0})
    draws = item.get("draws") or ""
    if not isinstance(draws, str) or len(draws) > _MAX_NAME:
        raise UserError(
            f"draws of lane {_show(name)} is {_show(draws)}.", f"It must be a text of at most {_MAX_NAME} characters."
        )
    return base._lane(name.strip(), strategy, {**over, "draws": draws if strategy not in ("greedy", "beam") else ""})


def _named(limits, name: str) -> str:
    """Where the limit comes from, for an error: " (LLMDEMO_MAX_BEAMS)"; "" where it is not the app's."""
    ours = {"max_beams": MAX_ROWS, "max_lanes": MAX_ROWS}.get(name)
    theirs = getattr(limits, name, None)
    return f" ({limits.variable(name)})" if theirs is not None and (ours is None or theirs <= ours) else ""


def _check_rows(lanes: tuple[LaneSettings, ...]) -> None:
    rows = sum(lane.num_beams for lane in lanes)
    if rows > MAX_ROWS:
        raise UserError(
            f"These lanes need {rows} rows (one a sampling lane, one a beam).",
            f"At most {MAX_ROWS} fit in one step: take fewer lanes or fewer beams.",
        )


def _show(value) -> str:
    """A value as a short text for an error."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
