"""Classifiers, and where they come from."""

from finercam.classifiers.classifier import Classifier
from finercam.classifiers.loading import load
from finercam.classifiers.text import text

__all__ = ["Classifier", "load", "text"]
