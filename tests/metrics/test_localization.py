"""Localisation against scikit-learn, SciPy, Quantus and hand-computed values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import average_precision_score

from finercam.errors import FinercamError
from finercam.metrics.intervals import mean_of
from finercam.metrics.localization import average_precision, energy_inside, iou_of_top, pointing, widened

EVERY = [energy_inside, average_precision, pointing, iou_of_top]


def maps_and_regions(seed: int, levels: int | None = None):
    """Random maps 4 x 6 x 7, with few distinct values where ``levels`` is given, and regions that are never empty."""
    rng = np.random.default_rng(seed)
    saliency = rng.random((4, 6, 7)) if levels is None else rng.integers(0, levels + 1, (4, 6, 7)) / levels
    region = rng.random((4, 6, 7)) < 0.3
    region[:, 2, 3] = True
    return torch.from_numpy(saliency), torch.from_numpy(region)


def test_energy_is_the_share_inside_and_an_empty_map_scores_zero():
    saliency = torch.tensor([[[1.0, 3.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    region = torch.tensor([[[True, True], [False, False]]]).expand(2, 2, 2)
    assert energy_inside(saliency, region).tolist() == [0.5, 0.0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_average_precision_is_that_of_scikit_learn_with_and_without_ties(seed, levels):
    saliency, region = maps_and_regions(seed, levels if levels < 6 else None)
    expected = [average_precision_score(r.ravel(), s.ravel()) for r, s in zip(region, saliency, strict=True)]
    assert average_precision(saliency, region).tolist() == pytest.approx(expected, abs=1e-12)


def test_sharpening_a_map_raises_energy_and_leaves_average_precision():
    generator = torch.Generator().manual_seed(0)
    region = torch.zeros(4, 16, 16, dtype=torch.bool)
    region[:, 4:10, 5:12] = True
    saliency = torch.rand(4, 16, 16, generator=generator, dtype=torch.float64) * (0.5 + region.double())
    torch.testing.assert_close(average_precision(saliency**3, region), average_precision(saliency, region))
    assert (energy_inside(saliency**3, region) > energy_inside(saliency, region) + 0.02).all()


@pytest.mark.parametrize("measure", EVERY)
def test_what_has_no_answer_is_nan_and_spoils_no_other_image(measure):
    saliency, region = maps_and_regions(1)
    whole = measure(saliency, region)
    assert whole.isfinite().all()
    region[1] = False
    saliency[2, 0, 0] = math.nan
    found = measure(saliency, region)
    assert found.isnan().tolist() == [False, True, True, False]
    assert found[[0, 3]].tolist() == whole[[0, 3]].tolist()


@pytest.mark.parametrize("measure", EVERY)
def test_an_empty_map_scores_nothing_and_a_constant_one_no_more_than_chance(measure):
    # The region holds the first pixels, which any rule by pixel order finds first.
    region = torch.zeros(1, 4, 5, dtype=torch.bool)
    region[:, 0, :] = True
    empty = float(measure(torch.zeros(1, 4, 5), region))
    assert empty == (0.25 if measure is average_precision else 0)
    if measure is not iou_of_top:
        assert float(measure(torch.full((1, 4, 5), 0.3), region)) == pytest.approx(0.25)


@pytest.mark.parametrize("measure", EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_is_its_single_images(measure, dtype):
    saliency, region = maps_and_regions(3)
    saliency = saliency.to(dtype)
    found = measure(saliency, region)
    assert found.dtype == dtype
    singles = [float(measure(saliency[i : i + 1], region[i : i + 1])) for i in range(4)]
    assert found.tolist() == pytest.approx(singles, abs=1e-7)
    # Scaling to the peak is for pictures and changes nothing here.
    assert measure(saliency * 7, region).tolist() == pytest.approx(found.tolist(), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.one_of(st.none(), st.integers(1, 4)), st.floats(0, 12))
def test_pointing_is_the_share_of_the_peaks_within_reach(seed, levels, tolerance):
    saliency, region = maps_and_regions(seed, levels)
    expected = []
    for s, r in zip(saliency.numpy(), region.numpy(), strict=True):
        peaks = np.argwhere(s == s.max())
        hits = [np.hypot(*(np.argwhere(r) - peak).T).min() <= tolerance for peak in peaks]
        expected.append(np.mean(hits) if s.max() > 0 else 0.0)
    assert pointing(saliency, region, tolerance).tolist() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 0.9, 1, math.sqrt(2), 2, 2.9, 5, 5.0001, 100]))
def test_widening_is_the_euclidean_distance_of_scipy(seed, distance):
    rng = np.random.default_rng(seed)
    region = rng.random((3, 9, 13)) < 0.03
    region[0, 4, 6] = region[1, 0, 0] = True
    region[2] = False
    expected = [distance_transform_edt(~r) <= distance for r in region[:2]]
    found = widened(torch.from_numpy(region), distance).numpy()
    assert (found[:2] == expected).all()
    assert not found[2].any()


@pytest.mark.parametrize("tolerance", [-1, math.nan, math.inf])
def test_a_tolerance_is_a_number_of_pixels(tolerance):
    with pytest.raises(FinercamError, match="distance in pixels"):
        pointing(*maps_and_regions(0), tolerance)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.one_of(st.none(), st.integers(1, 4)), st.one_of(st.none(), st.floats(0, 1)))
def test_iou_is_that_of_the_sets_of_pixels(seed, levels, fraction):
    saliency, region = maps_and_regions(seed, levels)
    expected = []
    for s, r in zip(saliency.flatten(1).tolist(), region.flatten(1).tolist(), strict=True):
        inside = {i for i, here in enumerate(r) if here}
        count = len(inside) if fraction is None else math.floor(round(fraction * 42, 6))
        top = set(sorted(range(42), key=lambda i: (-s[i], i))[:count])
        expected.append(len(top & inside) / len(top | inside) if max(s) > 0 else 0.0)
    assert iou_of_top(saliency, region, fraction).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_region_itself_has_an_iou_of_one_and_its_complement_none():
    _, region = maps_and_regions(5)
    region[:, 3:] = False
    assert iou_of_top(region.float(), region).tolist() == [1.0] * 4
    assert iou_of_top((~region).float(), region).tolist() == [0.0] * 4
    assert iou_of_top((~region).float(), region, 1.0).tolist() == region.float().mean((1, 2)).tolist()
    with pytest.raises(FinercamError, match="between 0 and 1"):
        iou_of_top(region.float(), region, 5.0)


def with_quantus(name, saliency, region, **options):
    """Score maps by a measure of Quantus, as they are: by default it takes absolute values or scales them."""
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    measure = getattr(quantus, name)(abs=False, normalise=False, disable_warnings=True, **options)
    images = np.zeros((len(saliency), 3, *saliency.shape[1:]), np.float32)
    labels = np.zeros(len(saliency), int)
    return measure(None, images, labels, saliency[:, None].numpy(), region[:, None].numpy())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_quantus(seed):
    saliency, region = maps_and_regions(seed)
    energy = with_quantus("RelevanceMassAccuracy", saliency, region)
    assert energy_inside(saliency, region).tolist() == pytest.approx(list(energy), abs=1e-12)
    pointed = with_quantus("PointingGame", saliency, region)
    assert pointing(saliency, region).tolist() == [float(hit) for hit in pointed]
    assert {0.0, 1.0} >= set(pointing(saliency, region).tolist())
    # What it calls rank accuracy is the overlap over the region's size; the sets are the same.
    iou = iou_of_top(saliency, region)
    accuracy = with_quantus("RelevanceRankAccuracy", saliency, region)
    assert (2 * iou / (1 + iou)).tolist() == pytest.approx(list(accuracy), abs=1e-12)
    top = with_quantus("TopKIntersection", saliency, region, k=10)
    size = region.sum((1, 2)).numpy()
    overlap = 10 * np.asarray(top)
    expected = overlap / (10 + size - overlap)
    assert iou_of_top(saliency, region, 10 / 42).tolist() == pytest.approx(list(expected), abs=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_where_quantus_departs():
    saliency, region = maps_and_regions(0)
    saliency[0], region[1] = 0.0, False
    # A map that is zero everywhere has its peak everywhere: always a hit. And a region without pixels should be NaN,
    # but NaN is written into an array of booleans, where it is True.
    assert [bool(hit) for hit in with_quantus("PointingGame", saliency, region)][:2] == [True, True]
    assert float(pointing(saliency, region)[0]) == 0
    assert pointing(saliency, region)[1].isnan()
    # 0 / 0: an empty map is left out of its mean instead of scoring 0.
    assert np.isnan(with_quantus("RelevanceMassAccuracy", saliency, region)[0])
    assert float(energy_inside(saliency, region)[0]) == 0


def test_the_interval_covers_the_mean_and_shrinks_with_images():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(4000, generator=generator) + 2
    few, many = mean_of(values[:100]), mean_of(values)
    assert few.low < few.mean < few.high
    assert many.high - many.low == pytest.approx(2 * 1.96 / 4000**0.5, rel=0.15)
    assert few.high - few.low > 4 * (many.high - many.low)
    assert mean_of(torch.tensor([1.0, float("nan"), 3.0])).n == 2
    assert mean_of(torch.tensor([float("nan")])).n == 0
