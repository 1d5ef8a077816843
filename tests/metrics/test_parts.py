"""Saliency near parts, against sums over pixels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finercam.errors import FinercamError
from finercam.metrics.consistency import consistency
from finercam.metrics.localization import energy_inside
from finercam.metrics.metric import find_metric
from finercam.metrics.parts import share_near_any, share_near_parts
from finercam.metrics.points import PartPoints, near_parts, part_radius
from finercam.metrics.view import View

SIZE = (9, 12)


def scene(seed: int, parts: int = 4):
    """Maps, and part points of which some are hidden and some lie outside of the picture."""
    generator = torch.Generator().manual_seed(seed)
    saliency = torch.rand(3, *SIZE, generator=generator, dtype=torch.float64)
    points = torch.rand(3, parts, 2, generator=generator, dtype=torch.float64) * torch.tensor([16, 12]) - 2
    visible = torch.rand(3, parts, generator=generator) < 0.7
    radius = 0.1 + 4 * torch.rand(3, generator=generator, dtype=torch.float64)
    return saliency, points, visible, radius


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_discs_and_shares_are_those_counted_pixel_by_pixel(seed):
    saliency, points, visible, radius = scene(seed)
    discs = near_parts(points, visible, radius, SIZE)
    shares = share_near_parts(saliency, discs)
    for image in range(3):
        for part in range(4):
            x, y = points[image, part].tolist()
            shown = bool(visible[image, part]) and 0 <= x <= SIZE[1] and 0 <= y <= SIZE[0]
            reach = max(float(radius[image]), 0.7072)
            near = [
                (row, column)
                for row in range(SIZE[0])
                for column in range(SIZE[1])
                if shown and math.hypot(column + 0.5 - x, row + 0.5 - y) <= reach
            ]
            assert discs[image, part].nonzero().tolist() == [list(pixel) for pixel in near]
            if near:
                expected = sum(float(saliency[image][pixel]) for pixel in near) / float(saliency[image].sum())
                assert float(shares[image, part]) == pytest.approx(expected, abs=1e-12)
            else:
                assert not shown
                assert shares[image, part].isnan()


def test_a_point_is_measured_from_its_pixels_middle():
    disc = near_parts(torch.tensor([[[3.5, 1.5]]]), torch.tensor([[True]]), torch.tensor([1.0]), (4, 6))[0, 0]
    assert disc.nonzero().tolist() == [[0, 3], [1, 2], [1, 3], [1, 4], [2, 3]]


def test_every_visible_part_has_a_pixel_however_small_the_radius():
    corners = torch.tensor([[[0.0, 0.0], [12.0, 9.0], [5.0, 4.0], [5.5, 4.5]]])
    discs = near_parts(corners, torch.ones(1, 4, dtype=torch.bool), torch.tensor([0.0]), SIZE)
    assert discs[0].flatten(1).sum(1).tolist() == [1, 1, 4, 1]


def test_the_radius_goes_with_the_boxs_larger_side():
    boxes = torch.tensor([[10.0, 20.0, 60.0, 40.0], [0.0, 0.0, 7.0, 30.0]])
    assert part_radius(boxes).tolist() == pytest.approx([5.0, 3.0])
    assert part_radius(boxes, 0.5).tolist() == [25.0, 15.0]
    with pytest.raises(FinercamError, match="above 0"):
        part_radius(boxes, 0.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_the_union_counts_nothing_twice(seed):
    saliency, points, visible, radius = scene(seed)
    discs = near_parts(points, visible, radius, SIZE)
    shares = share_near_parts(saliency, discs)
    every = share_near_any(saliency, discs)
    seen = ~shares.isnan()
    for image in range(3):
        of_seen = shares[image][seen[image]]
        if not len(of_seen):
            assert every[image].isnan()
            continue
        assert float(of_seen.max()) - 1e-12 <= float(every[image]) <= min(1.0, float(of_seen.sum())) + 1e-12
    chosen = torch.zeros(3, 4, dtype=torch.bool)
    chosen[:, 2] = True
    torch.testing.assert_close(share_near_any(saliency, discs, chosen), shares[:, 2], equal_nan=True)
    torch.testing.assert_close(share_near_any(saliency, discs), energy_inside(saliency, discs.any(1)), equal_nan=True)


def test_one_part_twice_is_one_part():
    saliency, points, _, radius = scene(2)
    twice = points[:, :1].clamp(1, 8).repeat(1, 2, 1)
    discs = near_parts(twice, torch.ones(3, 2, dtype=torch.bool), radius, SIZE)
    torch.testing.assert_close(share_near_any(saliency, discs), share_near_parts(saliency, discs)[:, 0])


def test_an_empty_map_is_near_nothing_and_one_with_nan_is_undefined():
    saliency, points, _, radius = scene(0)
    discs = near_parts(points.clamp(1, 8), torch.tensor([[True, False, True, True]] * 3), radius, SIZE)
    saliency[0] = 0
    saliency[1, 0, 0] = math.nan
    shares = share_near_parts(saliency, discs)
    assert shares[0, [0, 2, 3]].tolist() == [0.0, 0.0, 0.0]
    assert shares[1].isnan().all()
    assert shares.isnan()[2].tolist() == [False, True, False, False]
    assert float(share_near_any(saliency, discs)[0]) == 0
    assert share_near_any(saliency, discs, torch.tensor([[False, True, False, False]] * 3)).isnan().all()


def test_no_parts_at_all():
    discs = near_parts(torch.empty(3, 0, 2), torch.empty(3, 0, dtype=torch.bool), torch.ones(3), SIZE)
    assert share_near_parts(torch.rand(3, *SIZE), discs).shape == (3, 0)
    assert share_near_any(torch.rand(3, *SIZE), discs).isnan().all()


def test_the_metric_is_near_any_part_and_near_each_with_the_radius_asked_for():
    saliency, points, visible, radius = scene(6)
    visible[2] = True
    found = find_metric("parts@0.25").compute(
        View(saliency, parts=PartPoints(points.masked_fill(~visible[..., None], math.nan), 4 * radius))
    )
    discs = near_parts(points, visible, radius, SIZE)
    expected = {"parts@0.25": share_near_any(saliency, discs), "parts@0.25 shares": share_near_parts(saliency, discs)}
    assert list(found) == list(expected)
    for name, values in expected.items():
        own = torch.tensor(
            [[math.nan if v is None else v for v in row] if isinstance(row, list) else row for row in found[name]],
            dtype=torch.float64,
        )
        torch.testing.assert_close(own, values, equal_nan=True)
    assert any(share is None for row in found["parts@0.25 shares"] for share in row)


def test_a_photo_without_a_box_has_no_disc():
    points = torch.full((2, 3, 2), 4.0)
    discs = PartPoints(points, torch.tensor([10.0, math.nan])).near(0.1, SIZE)
    assert discs.flatten(2).any(2).tolist() == [[True] * 3, [False] * 3]


def test_the_summary_is_the_gain_of_consistency_over_the_rows():
    (summary,) = find_metric("parts@0.2").summaries
    assert summary.column.spec == "consistency@0.2"
    assert summary.reads == ("parts@0.2 shares",)
    # Photos without parts, with fewer than others, with a hidden one: as they come from a file.
    rows = [[0.1, 0.2, 0.3, 0.0], None, [0.3, 0.1, 0.2, None], [], [0.2, 0.2, 0.2], [0.0, 0.3, 0.3, 0.1]]
    labels = [0, 0, 1, 1, 0, 1]
    shares = torch.full((6, 4), math.nan)
    for i, row in enumerate(rows):
        for k, share in enumerate(row or []):
            shares[i, k] = math.nan if share is None else share
    expected = consistency(shares, torch.tensor(labels)).gain.double()
    assert expected.isnan().tolist() == [False, True, False, True, False, False]
    found = summary.compute({"parts@0.2 shares": rows, "other": [0] * 6}, labels)
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=0, atol=0)
