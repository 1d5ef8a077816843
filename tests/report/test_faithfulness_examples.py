"""The picture of an examination is of the photos, not of what the model was given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from finercam.data.placement import Axis, Placement
from finercam.report import faithfulness as pictures
from finercam.report.faithfulness import Example, draw_examples, panels_of
from finercam.report.figures.faithfulness import _cells
from finercam.report.panels import lay_out
from finercam.studies.faithfulness.examined import Examined
from finercam.studies.faithfulness.examining import Seen
from finercam.studies.faithfulness.rows import LISTED, Row


def seen_on(width: int, height: int) -> Seen:
    """The middle third of the input is one place, and most of the saliency; the model does not see the right half."""
    placement = Placement(Axis(2 * 96 / width, 0.0, width, 96), Axis(96 / height, 0.0, height, 96))
    place = torch.zeros(96, 96, dtype=torch.bool)
    place[32:64, 32:64] = True
    row = Row("a", 0, 1, "wing_colour::red", "red wings", ("wing",), 1.0, LISTED, 0.5, 0.1, 0.4, 0.2, 1.0, 0.2)
    examined = Examined("a", 0, 1, True, (row,), 0.1, 0.1, 0.1, 0.5, False)
    return Seen(examined, (place.float(), placement), {}, {"wing": place})


@pytest.mark.parametrize("size", [(300, 100), (60, 120)])
def test_examples_are_drawn_on_the_photo_in_its_own_aspect(size, monkeypatch):
    """As ``seen_on`` has it."""
    width, height = size
    photo, drawn = Image.new("RGB", size, "#306030"), []
    seen = seen_on(width, height)
    monkeypatch.setattr(pictures, "lay_out", lambda panels: drawn.extend(panels) or lay_out(panels))
    draw_examples([Example(seen, photo, "Red", "Blue", photo.rotate(90, expand=True))], side=200)
    assert [panel.heading for panel in drawn] == ["Red", "Blue", "Classifier", "red wings"]
    for panel, aspect in zip(drawn, (width / height, height / width, width / height, width / height), strict=True):
        assert panel.picture.width / panel.picture.height == pytest.approx(aspect, rel=0.02)
        assert panel.picture.width * panel.picture.height == pytest.approx(200 * 200, rel=0.02)
    heat, outlined = (np.asarray(panel.picture).astype(int) for panel in drawn[2:])
    rows, columns = (np.arange(n) / n for n in heat.shape[:2])
    pink = (outlined == (255, 31, 208)).all(2)
    assert columns[pink.any(0)].min() == pytest.approx(1 / 6, abs=0.03)
    assert columns[pink.any(0)].max() == pytest.approx(1 / 3, abs=0.03)
    assert rows[pink.any(1)].min() == pytest.approx(1 / 3, abs=0.03)
    # Pale and hatched, beside the dark photo.
    left, right = heat[:, : heat.shape[1] // 2 - 2], heat[:, heat.shape[1] // 2 + 2 :]
    assert right.mean() > 150 > left[: heat.shape[0] // 4].mean()


def test_in_print_the_similar_class_keeps_its_column_and_outlines_their_width():
    photo = Image.new("RGB", (300, 100), "#306030")
    alone = Example(seen_on(300, 100), photo, "Red", "Blue")
    rows = [_cells(one, 3, True) for one in (replace(alone, other_photo=photo), alone)]
    assert [cell.heading for cell in rows[0]] == [cell.heading for cell in rows[1]]
    assert [cell.mark for cell in rows[1]] == ["", "no photo", "", ""]
    assert len(_cells(alone, 3, False)) == 3
    assert "chance 10.0 %: uses" in rows[0][-1].lines

    def pink(side: int) -> float:
        picture = np.asarray(panels_of(alone, 3, side)[-1].picture)
        return float((picture == (255, 31, 208)).all(2).mean())

    assert pink(800) > 0.8 * pink(200)
