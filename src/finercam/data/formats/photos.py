"""Photos of which it is not known what they are of: on disk, or behind a URI that fsspec opens."""

from __future__ import annotations

import os

from finercam.data.dataset import UNKNOWN, Dataset
from finercam.data.format import data_format
from finercam.data.formats import folder
from finercam.data.storage import is_uri


@data_format(
    "photos",
    "Photos that are not sorted by class",
    specs=("photos:DIR", "photos:URI"),
    knows=("parts",),
)
def read(place: str, split: str, *, masks: str | None = None) -> Dataset:
    """Read all photos in a folder and below it, whatever its folders are called.

    They have one class, which no class of a model is matched to: what is asked about them is asked of the classes that
    the model predicts. There are no splits. Folders are searched as those of ``folder`` are.

    Args:
        place: a folder, or a URI that fsspec opens (``s3://bucket/photos``, ``zip://::photos.zip``).
        split: any; all photos are read.
        masks: a folder of masks of parts, as for ``folder``.

    Raises:
        FinercamError: there is no such folder, or no photo in it; or the masks cannot be read, as for ``folder``.
    """
    root = place if is_uri(place) else os.path.expanduser(place)
    return folder.dataset(f"photos:{place}", root, (UNKNOWN,), [("", "", 0)], masks)
