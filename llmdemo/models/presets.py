"""Models that people choose by name: what was published of them, and a config that tells their memory before a byte is fetched.

The facts and configs are presets.json's; each fact was read in the text that `sources` names for it (29 November 2026, most
of them in stored copies of these pages), and a test counts each config's weights. Knows nothing of what is fetched or
fits. Imports no torch.
"""

from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.models.catalog import STARTER_ID, ModelEntry
from llmdemo.models.files import read_object

KIND = "preset"
"""The kind of an entry that stands for a preset: it has no folder."""
_STARTERS_BASE = "HuggingFaceTB/SmolLM2-135M"
FACTS = ("licence", "parameters", "shape", "context", "tokens", "data", "languages")
"""What is told of a preset from its sources; shape: layers, heads and widths."""
_FILE = Path(__file__).with_name("presets.json")


@dataclass(frozen=True)
class Preset:
    """One model of the hub."""

    id: str
    """Its name on the hub: org/name."""
    family: str
    licence: str
    gated: bool
    """Whether the hub gives it only to those who have accepted its licence."""
    parameters: int
    tokens: int
    """Tokens that it was pretrained on, as published."""
    data: str
    """What these were, as published."""
    sources: dict[str, str] = field(repr=False, hash=False, compare=False)
    """By fact (FACTS) the address of the text that says so."""
    languages: tuple[str, ...]
    """Languages (BCP 47) that it was made for, as far as that is published; () where it is not. Of many, the common ones."""
    config: dict = field(repr=False, hash=False, compare=False)
    """As transformers reads it, the model_type included."""
    context: int = 0
    """Longest text that its authors name, in tokens; 0: the config's."""

    @property
    def title(self) -> str:
        return self.id.partition("/")[2]

    def facts(self) -> dict:
        """JSON-able: what was published, and the sizes in its config."""
        config = self.config
        return {
            **{key: value for key, value in asdict(self).items() if key != "config"},
            "title": self.title,
            "source": self.sources["licence"],
            "architecture": config["model_type"],
            "layers": config["num_hidden_layers"],
            "heads": config["num_attention_heads"],
            "kv_heads": config.get("num_key_value_heads") or config["num_attention_heads"],
            "width": config["hidden_size"],
            "context": self.context or config["max_position_embeddings"],
            "vocabulary": config["vocab_size"],
        }

    def entry(self) -> ModelEntry:
        """Stands for the model where its shapes are enough; it cannot be loaded."""
        context = self.config["max_position_embeddings"]
        return ModelEntry(self.id, self.title, KIND, None, parameters=self.parameters, context=context, ready=False)


@lru_cache(maxsize=1)
def list_presets() -> tuple[Preset, ...]:
    """All of them, family by family, the smaller first."""
    known = read_object(_FILE, 2**20)
    return tuple(_of(known["families"][model["family"]] | model) for model in known["models"])


def _of(values: dict) -> Preset:
    """The preset of a family's and a model's own values; `sources` are by address there: what was read at it."""
    read = values["sources"].items()
    by_fact = {fact: address.format(id=values["id"]) for address, facts in read for fact in facts}
    return Preset(**{**values, "sources": by_fact, "languages": tuple(values["languages"])})


def preset(model_id: str) -> Preset:
    """The preset with this id; raises UserError."""
    for each in list_presets():
        if each.id == model_id:
            return each
    raise UserError("err_no_preset", id=repr(str(model_id)[:80]))


def languages_of(model_id: str) -> tuple[str, ...]:
    """The languages that the starter or a preset, as it was published, was made for; () for any other model."""
    wanted = _STARTERS_BASE if model_id == STARTER_ID else model_id.partition("@")[0]
    return next((each.languages for each in list_presets() if each.id == wanted), ())


def speakers() -> list[dict]:
    """The presets that anybody may fetch and that were made for more than English: {id, title, languages, parameters}, the
    smallest first."""
    found = [each for each in list_presets() if len(each.languages) > 1 and not each.gated]
    keys = ("id", "title", "languages", "parameters")
    return [{key: getattr(each, key) for key in keys} for each in sorted(found, key=lambda each: each.parameters)]
