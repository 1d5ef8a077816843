"""Names from a file, one per line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finercam.errors import FinercamError

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier


def read_names(file: Path) -> list[str]:
    """Return the lines of a text file, without spaces around them; empty lines are left out.

    Raises:
        FinercamError: there is no such file, it is not UTF-8 text, it has no names, or a name stands in it twice.
    """
    try:
        # A byte order mark, as editors on Windows write it, is no part of the first name.
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise FinercamError(f"there is no file {str(file)!r}; give one with a name on each line") from None
    except UnicodeDecodeError:
        raise FinercamError(f"{str(file)!r} is not UTF-8 text; give a text file with a name on each line") from None
    except OSError as error:
        raise FinercamError(f"{str(file)!r} cannot be read: {error.strerror}") from error
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name in first:
            raise FinercamError(f"{str(file)!r} has {name!r} twice, in lines {first[name]} and {number}")
        if name:
            first[name] = number
    if not first:
        raise FinercamError(f"{str(file)!r} has no names in it; write one on each line")
    return list(first)


def told(classifier: Classifier, options: Mapping[str, Any]) -> list[str]:
    """Return what is to be said of a classifier that was loaded with options: its classes' ranks, how photos fit."""
    from finercam.data.placement import Placer

    said = [placed_in(Path(options["taxonomy"]), classifier)] if "taxonomy" in options else []
    if {"classes", "embeddings", "squash"} & set(options):
        height, width = classifier.image_size
        how = {"squash": "squashed to", "crop": "resized and cropped to", "pad": "resized and padded to"}
        # Wider than high: what is done to it can be told from how it lies in the input.
        fit = Placer(classifier.preprocessing)((640, 427)).fit
        said.append(f"photos are {how.get(fit, 'resized to')} {width} x {height}")
    return said


def placed_in(file: Path, classifier: Classifier) -> str:
    """Return how many of a model's classes a taxonomy has, as a sentence."""
    assert classifier.labels is not None
    assert classifier.labels.given is not None
    taxonomy = classifier.labels.given
    known = int((taxonomy.codes >= 0).any(0).sum())
    return f"{file}: {known} of {classifier.classes} classes have a place, at the ranks {', '.join(taxonomy.knows())}"
