"""Classifiers, and where they come from."""

from finercam.models.classifier import Classifier
from finercam.models.loading import load
from finercam.models.text import text

__all__ = ["Classifier", "load", "text"]
