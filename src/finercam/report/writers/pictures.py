"""An explanation as a picture: photo | plain map | finer map, with where it comes from in the file's metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from PIL.ExifTags import Base
from PIL.Image import Exif
from PIL.PngImagePlugin import PngInfo

from finercam.explanations.writers import writer
from finercam.report.explained import DPI, check_look, lay_out_explanation

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation


@writer(".png", ".jpg", ".jpeg", ".webp")
def write_pixels(
    explanation: Explanation, path: Path, *, size: int | None = None, scale: str = "common", dpi: int = DPI
) -> None:
    """Write the figure in pixels; PNG has its provenance as text, JPEG and WebP as EXIF."""
    check_look(size, scale, dpi)
    said = provenance(explanation)
    image = lay_out_explanation(explanation, size, scale).image()
    if path.suffix.lower() == ".png":
        text = PngInfo()
        for key, value in said.items():
            text.add_itxt(key, value)
        image.save(path, dpi=(dpi, dpi), pnginfo=text)
    else:
        exif = Exif()
        exif[Base.Software] = said["Software"]
        # EXIF's own text is ASCII.
        exif[Base.ImageDescription] = said["finercam"]
        image.save(path, dpi=(dpi, dpi), exif=exif, quality=90)


@writer(".pdf", ".svg")
def write_vectors(
    explanation: Explanation, path: Path, *, size: int | None = None, scale: str = "common", dpi: int = DPI
) -> None:
    """Write the figure with its text as vectors, at ``dpi`` pixels of its pictures per inch."""
    check_look(size, scale, dpi)
    said, form = provenance(explanation), path.suffix.lower().removeprefix(".")
    # No date: the same explanation gives the same file.
    metadata = (
        {"Title": said["Title"], "Subject": said["finercam"], "Creator": said["Software"], "CreationDate": None}
        if form == "pdf"
        else {"Title": said["Title"], "Description": said["finercam"], "Creator": said["Software"], "Date": None}
    )
    lay_out_explanation(explanation, size, scale).write_vectors(path, form, dpi, metadata)


def provenance(explanation: Explanation) -> dict[str, str]:
    """Return where a picture comes from: the question, the program and its version, and the whole record as JSON."""
    from finercam import __version__

    return {
        "Title": " ".join(str(explanation).split()),
        "Source": explanation.facts.name,
        "Software": f"finercam {__version__}",
        "finercam": json.dumps(explanation.record()),
    }
