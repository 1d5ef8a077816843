"""Sheets of known differences."""

from dataclasses import replace

import numpy as np
import pytest

from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from finercam.report.differences import draw_differences


def test_a_sheet_has_a_row_for_each_item():
    dataset = read_dataset("planted@size=0.2:aviary", images=3)
    items = list(dataset.items())
    # A plain bird can be repainted as each look-alike, too.
    one, six = draw_differences(dataset, items[1:2]), draw_differences(dataset, items)
    rows = sum(dataset.repaint(item, label) is not None for item in items for label in dataset.open(item).differences)
    assert (six.width, six.height) == (one.width, rows * one.height)
    assert rows > 6
    taller = draw_differences(dataset, items[1:2], height=300)
    assert taller.height - one.height == 60
    # Both forms of the photo, and the one that is compared with is outlined.
    plain, marked = (np.asarray(draw_differences(dataset, [item])) for item in items[:2])
    pink = (plain == (255, 31, 208)).all(2)
    assert pink.any()
    third = plain.shape[1] // 3
    assert not pink[:, : 2 * third].any()
    # The plain photo is the second picture of its own row, and the first of its twin's.
    size, top, left, gap = 240, 16 + 22 + 6, 16, 16
    own = plain[top : top + size, left + size + gap : left + 2 * size + gap]
    assert np.array_equal(own, marked[top : top + size, left : left + size])


def test_what_cannot_be_shown_is_an_error():
    fixed = replace(read_dataset("aviary", images=1), repaint=None)
    with pytest.raises(FinercamError, match="aviary cannot repaint its photos as other classes; try planted:aviary"):
        draw_differences(fixed, fixed.items())
    planted = read_dataset("planted:aviary", images=1)
    with pytest.raises(FinercamError, match="none of these items of planted:aviary can be repainted"):
        draw_differences(planted, [])
