"""Runs that train on machines of the Hugging Face hub. See README.md."""

from llmdemo.elsewhere.service import Elsewhere

__all__ = ["Elsewhere"]
