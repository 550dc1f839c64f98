"""Maps of data sets: a kind of job. Joins models and data; knows no page and no run."""

from llmdemo.maps.service import Maps

__all__ = ["Maps"]
