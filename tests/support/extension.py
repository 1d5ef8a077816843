"""What a stranger adds to finercam: one of each kind, in a file of their own that is brought in by ``--import``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import torch
from torch import nn

import finercam
from finercam.data.dataset import Dataset, Item
from finercam.models.preprocessing import Preprocessing
from finercam.models.source import ClassifierParts
from finercam.report.folder import folder_kind
from finercam.report.pages import Section
from finercam.report.parts import Table
from finercam.runs.rows import Rows
from finercam.runs.study import Prepared, Study


# --- a class activation map: a function of activations and gradients ---
@finercam.method("gradient-norm", title="Gradient norm")
def gradient_norm(activations, gradients):
    return (activations * gradients).norm(dim=1)


# --- an explainer that is no CAM: a function of a look and rows ---
@dataclass(frozen=True, eq=False)
class FlashEvidence(finercam.Evidence):
    table: torch.Tensor  # b n C
    cells: int

    def maps(self, rows):
        scores = torch.einsum("bnc,brc->brn", self.table - self.logits[:, None], rows.to(self.table))
        return scores.unflatten(2, (self.cells, self.cells))

    def of(self, images):
        return replace(self, logits=self.logits[images], table=self.table[images])


@finercam.explainer("flash", title="Flash")
def flash(look, rows, *, cells: int = 4, light: float = 1.0):
    """How each logit changes when a cell of the image is lit up."""
    masks = torch.eye(cells * cells).view(-1, 1, cells, cells).to(look.images)
    masks = nn.functional.interpolate(masks, look.image_size)
    table = look.logits.new_zeros(len(look.images), len(masks), look.logits.shape[1])
    wanted = torch.ones(table.shape[:2], dtype=torch.bool)
    for image, copy, logits in look.rerun(lambda image, copy: look.images[image] + light * masks[copy], wanted):
        table[image, copy] = logits.to(table)
    return FlashEvidence(look.logits, look.image_size, table, cells)


# --- a metric ---
@finercam.metric("highest", title="Highest", better="higher", needs=finercam.Needs(regions=("box",)))
def highest(view, *, scale: float = 1.0):
    """Whether the peak lies in the box, times a scale."""
    peak = view.saliency.flatten(1).argmax(1, keepdim=True)
    return scale * view.region("box").flatten(1).gather(1, peak)[:, 0].double()


# --- a data format ---
@finercam.data_format("squares", "Pictures named COLOUR-NUMBER.png", knows=("box",))
def read(place: str, split: str) -> Dataset:
    files = sorted(Path(place).glob("*.png"))
    names = tuple(sorted({file.stem.split("-")[0] for file in files}))
    items = [
        Item(file.name, str(file), names.index(file.stem.split("-")[0]), box=(0.0, 0.0, 16.0, 16.0)) for file in files
    ]
    return Dataset("squares", names, partial(iter, items), regions=("box",))


# --- a source of models ---
class MeanColour(nn.Module):
    """Red, green, blue: how much of each there is."""

    def __init__(self):
        super().__init__()
        self.cells = nn.Conv2d(3, 3, 4, 4, bias=False)
        self.head = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.cells.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4) / 16)
            self.head.weight.copy_(10 * torch.eye(3))

    def forward(self, images):
        return self.head(self.cells(images).relu().mean((2, 3)))


def to_tensor(picture):
    return (
        torch.frombuffer(bytearray(picture.resize((32, 32)).tobytes()), dtype=torch.uint8)
        .view(32, 32, 3)
        .permute(2, 0, 1)
        .float()
        / 255
    )


def classifier(checkpoint):
    preprocessing = Preprocessing(to_tensor, (32, 32), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return ClassifierParts(MeanColour(), preprocessing, ["red", "green", "blue"])


finercam.source("colours", specs=("colours",), classifier=classifier)


# --- an output format ---
@finercam.writer(".txt")
def write_text(explanation, path):
    path.write_text(f"{explanation}\n")


# --- a figure: drawn from positional arguments of known names ---
@finercam.figure("dots", "How many photos were measured")
def dots(runs, *, width: float = 85.0):
    from finercam.report.printing import finished, page, write
    from finercam.runs.rows import Rows

    drawn = page(width, 60.0)
    said = f"{Rows(runs[0]).photos} photos"
    write(drawn, 10.0, 30.0, said)
    return finished(drawn, said)


# --- a study: what is measured of each item ---
@dataclass(frozen=True)
class Brightness(Study[finercam.Classifier, Prepared]):
    """The mean of each photo's input, and what the model sees in it."""

    name = "brightness"

    def settings(self):
        return {}

    def schema(self):
        return pa.schema([("brightness", pa.float64()), ("seen", pa.string())])

    def prepare(self, opened):
        return Prepared(opened.entry, opened.image)

    def start(self, bench):
        def measure(batch):
            images = torch.stack([torch.from_numpy(item.image) for item in batch])
            with bench.model.look(images, bench.run) as look:
                seen = look.logits.argmax(1).tolist()
            return [
                [{"brightness": float(image.mean()), "seen": bench.model.class_name(index)}]
                for image, index in zip(images, seen, strict=True)
            ]

        return measure

    def summary(self, rows):
        table = rows.table()
        return dict(zip(table["key"].to_pylist(), table["seen"].to_pylist(), strict=True))


# --- a kind of folder in reports: what is told of the study's runs ---
@folder_kind("brightness", studies=["brightness"])
def sections(folders):
    for folder in folders:
        seen = Brightness().summary(Rows(folder))
        yield Section("Brightness", [Table([["photo", "seen"], *([photo, name] for photo, name in seen.items())])])
