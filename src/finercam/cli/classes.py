"""Which class of the model each class of a data set is, as commands ask for it and tell of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finercam.cli.console import say

if TYPE_CHECKING:
    from finercam.data.dataset import Dataset
    from finercam.models import Classifier


def model_classes(
    classifier: Classifier, data: Dataset, mapping: Path | None, skip_unmatched: bool, tell: bool = True
) -> list[int]:
    """Return the model's class of each label of the data set, or -1, and say which of those with photos have none.

    Args:
        classifier, data: whose classes are matched by name.
        mapping: a CSV of data class, model class.
        skip_unmatched: whether classes with photos may have no match.
        tell: whether to say which have none.

    Raises:
        FinercamError: a class with photos has no match, or more than one.
    """
    from finercam.data.matching import describe, match_classes

    names, labels = data.class_names, classifier.labels
    present = {item.label for item in data.items()}
    matching = match_classes(names, labels, mapping, skip_unmatched, only=present, classes=classifier.classes)
    if matching.unmatched and tell:
        say(f"{len(matching.unmatched)} of {len(present)} classes match none of the model's:")
        for line in describe(matching.unmatched, labels):
            say(f"  {line}")
    # Classes without photos too: a photo may be held against any that both know.
    every = match_classes(names, labels, mapping, skip_unmatched=True, classes=classifier.classes)
    return [int(index) for index in every.indices]
