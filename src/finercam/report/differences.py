"""Pictures of known differences: a photo, the same as one of another class, and a line around what changed."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image

from finercam.contrast.labels import short_names
from finercam.data.dataset import Dataset, Item
from finercam.errors import FinercamError
from finercam.report.panels import Panel, draw_panels
from finercam.report.render import outlined


def draw_differences(dataset: Dataset, items: Iterable[Item], height: int = 240) -> Image.Image:
    """Return a sheet with a row for each item and each class as one of which it can be repainted.

    Args:
        dataset: one that can repaint its photos as other classes: ``planted:cub:DIR``.
        items: some of its items.
        height: of each picture in pixels.

    Raises:
        FinercamError: the data set cannot repaint its photos, there is nothing to show, or an item cannot be opened.
    """
    if dataset.repaint is None:
        raise FinercamError(f"{dataset.name} cannot repaint its photos as other classes; try planted:{dataset.name}")
    rows = []
    for item in items:
        example = dataset.open(item)
        for label, where in example.differences.items():
            other = dataset.repaint(item, label)
            if other is None:
                continue
            names = short_names([dataset.class_names[label], dataset.class_names[item.label]])
            share = f"{where.mean():.2%} of the photo"
            line = outlined(other, where, width=2 * (round(other.height / height) // 2) + 3)
            panels = [Panel(other, names[0]), Panel(example.photo, names[1]), Panel(line, "Difference", [share])]
            rows.append(draw_panels(panels, height=height))
    if not rows:
        raise FinercamError(f"none of these items of {dataset.name} can be repainted as another class; give others")
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
