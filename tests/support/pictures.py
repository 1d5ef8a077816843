"""Small pictures for tests that need files."""

from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed, width=32, height=24):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save_picture(path, seed=0, width=32, height=24, **options):
    """Write random pixels; a PNG keeps them, a JPEG about."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, width, height)).save(path, **options)


def write_lines(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
