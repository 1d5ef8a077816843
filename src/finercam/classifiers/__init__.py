"""Classifiers, and where they come from."""

from finercam.classifiers.classifier import Classifier
from finercam.classifiers.loading import load

__all__ = ["Classifier", "load"]
