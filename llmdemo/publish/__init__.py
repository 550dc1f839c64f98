"""A finished run goes to the Hugging Face hub: its card, its curves, the transfer. Knows no page."""

from llmdemo.publish.service import Pushes

__all__ = ["Pushes"]
