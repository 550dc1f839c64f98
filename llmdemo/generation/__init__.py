"""Data sets made by a model: a kind of job. Joins models, decoding and data; knows no page."""

from llmdemo.generation.race import DataRaces
from llmdemo.generation.service import Generations

__all__ = ["DataRaces", "Generations"]
