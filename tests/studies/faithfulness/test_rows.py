"""The numbers of an examination, written out: shares of places, correlations with words, verdicts over photos."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from finercam import FinercamError
from finercam.data.placement import Axis, Placement
from finercam.studies.faithfulness.aligning import agreement, carried, in_common, overlap
from finercam.studies.faithfulness.rows import (
    ALIKE,
    DIFFERS,
    IGNORES,
    LISTED,
    UNCERTAIN,
    USES,
    Pair,
    Row,
    rows_of_places,
    rows_of_words,
)
from finercam.studies.faithfulness.verdicts import verdict_on
from finercam.studies.places import evenly
from support.examined import attributes_of, mean_between


def test_rows_of_places_are_the_shares_written_out():
    generator = np.random.default_rng(0)
    saliency, plain = (generator.random((10, 12)) for _ in range(2))
    masks = {name: generator.random((10, 12)) < 0.15 for name in ("wing", "tail", "leg", "eye", "nape")}
    even = generator.random((10, 12)) + 0.1
    table = attributes_of(wing=(90, 0), tail=(50, 50), leg=(40, 50), eye=(0, 60), nape=(60, 50), crown=(0, 0))
    tensors = [torch.from_numpy(each) for each in (saliency, plain, even)]
    found = rows_of_places(
        Pair("key", 0, 1), table, {name: torch.from_numpy(mask) for name, mask in masks.items()}, *tensors, count=1
    )
    assert [(row.name, row.status) for row in found] == [
        ("wing::x", LISTED),
        ("wing", LISTED),
        ("tail", ALIKE),
        ("leg", ALIKE),
        ("eye", DIFFERS),
        ("nape", ALIKE),
    ]
    for row in found:
        own = masks[row.places[0]]
        controls = [masks[name] & ~own for name in ("tail", "leg", "nape") if name != row.places[0]]
        union = np.logical_or.reduce(controls)
        share = saliency[own].sum() / saliency.sum()
        chance = saliency[union].sum() / saliency.sum() * even[own].sum() / even[union].sum()
        assert row.alignment == pytest.approx(share)
        assert row.chance == pytest.approx(chance)
        assert row.advantage == pytest.approx((share - chance) / (share + chance))
        of_plain = plain[own].sum() / plain.sum()
        assert row.plain == pytest.approx(of_plain)
        assert row.gain == pytest.approx((share - of_plain) / (share + of_plain))
        density = saliency[own].sum() / even[own].sum()
        assert row.above == np.mean([density > saliency[one].sum() / even[one].sum() for one in controls])
        assert math.isnan(row.overlap)


def test_without_enough_that_is_alike_the_most_alike_is_taken():
    ones = torch.ones(4, 4)
    masks = {name: torch.zeros(4, 4, dtype=torch.bool) for name in ("wing", "tail", "leg", "eye")}
    for index, mask in enumerate(masks.values()):
        mask[index] = True
    table = attributes_of(wing=(90, 0), tail=(80, 0), leg=(70, 0), eye=(60, 0))
    found = {row.name: row.status for row in rows_of_places(Pair("k", 0, 1), table, masks, ones, ones, ones, 1)}
    assert found == {"wing::x": LISTED, "wing": LISTED, "tail": DIFFERS, "leg": ALIKE, "eye": ALIKE}
    nothing = rows_of_places(Pair("k", 0, 1), table, masks, 0 * ones, ones, ones, 1)
    assert all(math.isnan(row.alignment) and row.verdict == UNCERTAIN for row in nothing)


def test_an_even_map_is_at_chance_where_it_is_even():
    outline = torch.zeros(64, 64, dtype=torch.bool)
    outline[8:56, 16:40] = True
    even = evenly(outline, (8, 8))
    cells = outline.double().reshape(8, 8, 8, 8).mean((1, 3)).numpy()
    for y, x in ((0, 0), (10, 20), (31, 39), (63, 63)):
        at = [min(max((place + 0.5) / 8 - 0.5, 0), 7) for place in (y, x)]
        (y0, x0), (fy, fx) = [int(a) for a in at], [a - int(a) for a in at]
        y1, x1 = min(y0 + 1, 7), min(x0 + 1, 7)
        expected = (1 - fy) * ((1 - fx) * cells[y0, x0] + fx * cells[y0, x1])
        expected += fy * ((1 - fx) * cells[y1, x0] + fx * cells[y1, x1])
        assert float(even[y, x]) == pytest.approx(max(expected, 1e-3), abs=1e-6)
    masks = {name: torch.zeros_like(outline) for name in ("wing", "tail", "leg")}
    masks["wing"][20:30, 20:30], masks["tail"][50:60, 20:30], masks["leg"][30:40, 10:18] = True, True, True
    table = attributes_of(wing=(90, 0), tail=(50, 50), leg=(50, 50))
    for row in rows_of_places(Pair("k", 0, 1), table, masks, even, even, even):
        if row.status == LISTED:
            assert row.advantage == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("advantage", "above", "verdict"),
    [(0.4, 1.0, USES), (0.4, 0.8, UNCERTAIN), (-0.2, 0.5, IGNORES), (-0.2, 0.0, IGNORES), (math.nan, 1.0, UNCERTAIN)],
)
def test_the_verdict_on_a_photo(advantage, above, verdict):
    row = Row("k", 0, 1, "wing", "wing", ("wing",), 90.0, LISTED, 0.5, 0.2, advantage, 0.0, above, 0.5)
    assert row.verdict == verdict


def test_rows_of_words_are_correlations_and_overlaps():
    generator = torch.Generator().manual_seed(0)
    axis = Axis(1.0, 0.0, 64, 64)
    placement = Placement(axis, axis)
    saliency, plain = (torch.rand(64, 64, generator=generator) for _ in range(2))
    table = attributes_of(wing=(90, 0), tail=(60, 60), leg=(70, 70), eye=(80, 80))
    words = {f"x {name}": (torch.rand(64, 64, generator=generator), placement) for name in ("tail", "leg", "eye")}
    # An increasing change of the map itself: the same order.
    words["x wing"] = (saliency**3, placement)
    wing, *others = rows_of_words(Pair("k", 0, 1), table, words, (saliency, placement), (plain, placement), 1)

    def spearman(a, b):
        ranks = [np.argsort(np.argsort(each.numpy().ravel())) for each in (a, b)]
        return np.corrcoef(*ranks)[0, 1]

    expected = {name: spearman(saliency, words[f"x {name}"][0]) for name in ("eye", "leg", "tail")}
    assert (wing.status, wing.alignment, wing.overlap, wing.above) == (LISTED, pytest.approx(1), 1, 1)
    assert wing.chance == pytest.approx(np.mean(list(expected.values())), abs=1e-5)
    assert wing.advantage == pytest.approx(wing.alignment - wing.chance)
    assert wing.plain == pytest.approx(spearman(plain, saliency), abs=1e-5)
    assert wing.gain == pytest.approx(1 - wing.plain)
    assert [row.places[0] for row in others] == list(expected)
    for row in others:
        assert (row.status, row.alignment) == (ALIKE, pytest.approx(expected[row.places[0]], abs=1e-5))
        rest = [value for name, value in expected.items() if name != row.places[0]]
        assert row.chance == pytest.approx(np.mean(rest), abs=1e-5)


def test_the_overlap_is_of_the_top_fifths_and_takes_no_zeros():
    first, second = torch.zeros(2, 5, 4), torch.zeros(2, 5, 4)
    first[0, 0], second[0, 0, :2], second[0, 1, :2] = 1, 2, 1
    first[1, 0, 0] = 1
    # Of 20 pixels 4: two of four are shared, of six.
    found = overlap(first, second)
    assert float(found[0]) == pytest.approx(2 / 6)
    assert math.isnan(found[1])
    assert all(math.isnan(value) for value in agreement(first[1], second[1]))
    assert overlap(first[:1], first[:1]).tolist() == [1]


def test_maps_are_compared_where_both_models_saw_the_photo():
    """A photo of 200 x 100: squashed for one model, its middle cut out and mirrored for the other."""
    squashed = Placement(Axis(0.32, 0.0, 200, 64), Axis(0.64, 0.0, 100, 64))
    cut = Placement(Axis(-0.48, 72.0, 200, 48), Axis(0.32, 0.0, 100, 32))

    def seen(placement):
        return placement.y.cells()[:, None] + 2 * placement.x.cells()

    first, second = in_common(seen(squashed), squashed, seen(cut), cut)
    at = torch.arange(64, dtype=torch.float64) + 0.5
    expected = (at * 100 / 64)[:, None] + 2 * (50 + at * 100 / 64)
    inner = slice(2, -2)  # beyond the middle of the last pixel a map is constant
    torch.testing.assert_close(first[inner, inner], expected[inner, inner], atol=1e-6, rtol=0)
    torch.testing.assert_close(second[inner, inner], expected[inner, inner], atol=1e-6, rtol=0)
    over = carried(seen(cut), cut, squashed)
    inside = (squashed.x.cells() > 53) & (squashed.x.cells() < 147)
    torch.testing.assert_close(over[2:-2, inside], seen(squashed)[2:-2, inside], atol=1e-6, rtol=0)
    assert not over[:, squashed.x.cells() < 50].any()
    elsewhere = Placement(Axis(1.0, -160.0, 200, 40), squashed.y)
    left = Placement(Axis(1.0, 0.0, 200, 40), squashed.y)
    with pytest.raises(FinercamError, match="different parts of the photo"):
        in_common(seen(elsewhere), elsewhere, seen(left), left)


@pytest.mark.parametrize(
    ("status", "advantage", "gain", "alike", "verdict"),
    [
        (LISTED, (0.2, 0.4), (0.06, 0.1), (0.3, 0.5), USES),
        (LISTED, (0.2, 0.4), (0.04, 0.1), (0.3, 0.5), UNCERTAIN),  # not drawn, and others are as high
        (LISTED, (0.2, 0.4), (0.04, 0.1), (-0.3, 0.1), USES),  # not drawn, but stands out
        (ALIKE, (0.2, 0.4), (0.04, 0.1), (-0.3, 0.1), UNCERTAIN),
        (ALIKE, (0.6, 0.8), (0.04, 0.1), (-0.3, 0.1), USES),
        (ALIKE, (0.2, 0.4), (0.06, 0.1), (-0.3, 0.1), UNCERTAIN),  # drawn, maybe by a neighbour
        (DIFFERS, (0.2, 0.4), (0.06, 0.1), (0.3, 0.5), USES),
        (LISTED, (-0.2, 0.09), (0.06, 0.1), (-0.3, 0.1), IGNORES),
        (LISTED, (0.01, 0.09), (0.06, 0.1), (-0.3, -0.1), IGNORES),  # above chance, and negligible
        (LISTED, (-0.1, 0.3), (0.06, 0.1), (-0.3, 0.1), UNCERTAIN),
    ],
)
def test_the_verdict_over_photos(status, advantage, gain, alike, verdict):
    assert verdict_on(status, mean_between(*advantage), mean_between(*gain), [mean_between(*alike)]) == verdict
    assert verdict_on(status, mean_between(*advantage, n=4), mean_between(*gain), [mean_between(*alike)]) == UNCERTAIN
