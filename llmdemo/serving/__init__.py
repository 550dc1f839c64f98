"""Served models: an OpenAI-compatible endpoint over the arena's engine, exports, monitoring. Imports no torch by itself."""

from llmdemo.serving.service import Serving

__all__ = ["Serving"]
