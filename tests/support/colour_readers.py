"""Birds of two species that differ in the wing alone, as CUB's files, and classifiers that read one place only.

A reader's logits are linear in the colour of a fixed set of cells, so what it looks at is known exactly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from finercam import Classifier
from support.pictures import write_lines

SIZE, CELL = 96, 8
NAMES = ("001.Red_Bluet", "002.Blue_Bluet")
BOX = (16, 16, 80, 80)
#: Middles of the squares of 16 pixels that are the places.
MIDDLES = {"left wing": (48, 48), "tail": (24, 72), "throat": (72, 40), "crown": (72, 24), "left leg": (56, 72)}
ATTRIBUTES = {
    "has_wing_color::red": (90, 0),
    "has_wing_color::blue": (5, 95),
    "has_tail_shape::forked_tail": (60, 55),
    "has_throat_color::red": (80, 80),
    "has_crown_color::red": (70, 75),
    "has_leg_color::red": (60, 60),
    "has_size::small_(5_-_9_in)": (100, 0),
}
_RED, _BLUE = (220, 40, 40), (40, 40, 220)


def draw(species: int, number: int) -> Image.Image:
    """Return a picture: a grey bird with red places; the wing, and the background's tint, go with the species."""
    noise = np.random.default_rng(number).integers(-20, 20, (SIZE, SIZE, 3))
    pixels = np.full((SIZE, SIZE, 3), (150, 130, 110) if species == 0 else (110, 130, 150))
    x0, y0, x1, y1 = BOX
    pixels[y0:y1, x0:x1] = 128
    for name, (x, y) in MIDDLES.items():
        blue = name == "left wing" and species == 1
        pixels[y - 8 : y + 8, x - 8 : x + 8] = _BLUE if blue else _RED
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def write_birds(root: Path, each: int = 6) -> Path:
    """Write so many photos of each species in CUB's files; return the folder."""
    parts = [
        "back",
        "beak",
        "belly",
        "breast",
        "crown",
        "forehead",
        "left eye",
        "left leg",
        "left wing",
        "nape",
        "right eye",
        "right leg",
        "right wing",
        "tail",
        "throat",
    ]
    photos = [(species, number) for number in range(each) for species in (0, 1)]
    names = [f"{NAMES[species]}/{number}.png" for species, number in photos]
    for name, (species, number) in zip(names, photos, strict=True):
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        draw(species, number).save(root / "images" / name)
    ids = range(1, len(photos) + 1)
    write_lines(root / "classes.txt", *(f"{n} {name}" for n, name in enumerate(NAMES, 1)))
    write_lines(root / "images.txt", *(f"{n} {name}" for n, name in zip(ids, names, strict=True)))
    write_lines(root / "image_class_labels.txt", *(f"{n} {photos[n - 1][0] + 1}" for n in ids))
    write_lines(root / "train_test_split.txt", *(f"{n} 0" for n in ids))
    x0, y0, x1, y1 = BOX
    write_lines(root / "bounding_boxes.txt", *(f"{n} {x0} {y0} {x1 - x0} {y1 - y0}" for n in ids))
    write_lines(root / "parts" / "parts.txt", *(f"{n} {part}" for n, part in enumerate(parts, 1)))
    where = [(n, *MIDDLES.get(part, (0, 0)), int(part in MIDDLES)) for n, part in enumerate(parts, 1)]
    write_lines(root / "parts" / "part_locs.txt", *(f"{n} {p} {x} {y} {seen}" for n in ids for p, x, y, seen in where))
    write_lines(root / "attributes" / "attributes.txt", *(f"{n} {name}" for n, name in enumerate(ATTRIBUTES, 1)))
    write_lines(
        root / "attributes" / "class_attribute_labels_continuous.txt",
        *(" ".join(str(values[species]) for values in ATTRIBUTES.values()) for species in (0, 1)),
    )
    return root


class Reader(nn.Module):
    """Logits from the mean colour of some cells: red speaks for the first species, blue for the second."""

    def __init__(self, cells: Tensor, weights: Tensor):
        super().__init__()
        self.cells = _Chosen(cells)
        self.head = nn.Linear(3, len(weights))
        self.head.weight.data, self.head.bias.data = weights, torch.zeros(len(weights))

    def forward(self, x: Tensor) -> Tensor:
        """Images b 3 H W in 0..1 to logits."""
        return self.head(self.cells(x).mean((2, 3)))


class _Chosen(nn.Module):
    def __init__(self, cells: Tensor):
        super().__init__()
        self.register_buffer("cells", cells.float())

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x, CELL) * self.cells


def to_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255


def reader(where: str) -> Classifier:
    """Return the classifier that reads one part, or the ``background``."""
    cells = torch.zeros(SIZE // CELL, SIZE // CELL)
    if where == "background":
        cells[0], cells[-1], cells[:, 0], cells[:, -1] = 1, 1, 1, 1
    else:
        x, y = (middle // CELL for middle in MIDDLES[where])
        cells[y - 1 : y + 1, x - 1 : x + 1] = 1
    weights = torch.tensor([[500.0, 0.0, 0.0], [0.0, 0.0, 500.0]])
    return Classifier.of(
        Reader(cells, weights), "cells", preprocess=to_tensor, class_names=NAMES, image_size=(SIZE, SIZE), name=where
    )
