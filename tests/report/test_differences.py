"""Sheets of known differences."""

from dataclasses import replace

import numpy as np
import pytest

from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from finercam.report.differences import draw_differences


def test_a_sheet_has_a_row_for_each_item():
    dataset = read_dataset("planted@size=0.2:aviary", images=3)
    species = len(dataset.class_names) // 2
    # A drawn bird can be repainted as its look-alikes, too; here as its twin only.
    repaint = dataset.repaint
    only = lambda item, label: None if (label - item.label) % species else repaint(item, label)  # noqa: E731
    items, dataset = list(dataset.items()), replace(dataset, repaint=only)
    one, six = draw_differences(dataset, items[:1]), draw_differences(dataset, items)
    assert (six.width, six.height) == (one.width, 6 * one.height)
    taller = draw_differences(dataset, items[:1], height=300)
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
