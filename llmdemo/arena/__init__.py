"""The arena: models, prompts and decoding joined. Knows no page: `ui/` draws what this yields."""

from llmdemo.arena.prompt import Prompt
from llmdemo.arena.service import Arena, Request

__all__ = ["Arena", "Prompt", "Request"]
