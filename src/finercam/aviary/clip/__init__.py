"""A small text-image model of the aviary in OpenCLIP's format: zero-shot explanations without a download."""

from pathlib import Path


def folder() -> Path:
    """Return the folder of the embedded model, as ``open_clip.create_model("local-dir:FOLDER")`` reads it."""
    return Path(__file__).parent / "model"
