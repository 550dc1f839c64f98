"""How good a model is: two models side by side, classifiers, judges, folds. Importing it brings no torch and no widget."""

from llmdemo.evaluation.service import Evaluations

__all__ = ["Evaluations"]
