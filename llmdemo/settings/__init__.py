"""The settings of everything, each described once: the app's own, training, decoding, evaluation. Imports no torch."""

from llmdemo.settings.app import GuestSettings, Settings

__all__ = ["GuestSettings", "Settings"]
