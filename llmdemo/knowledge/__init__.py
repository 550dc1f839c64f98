"""What a model knows already of a data set's answers: a kind of job. Joins models, decoding and data; knows no page."""

from llmdemo.knowledge.service import Probes

__all__ = ["Probes"]
