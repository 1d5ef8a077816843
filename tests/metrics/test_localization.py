"""Localisation against scikit-learn and hand-computed values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from finercam.metrics.intervals import bootstrap_mean
from finercam.metrics.localization import average_precision, energy_inside


def test_energy_is_the_share_inside_and_an_empty_map_scores_zero():
    saliency = torch.tensor([[[1.0, 3.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    region = torch.tensor([[[True, True], [False, False]]]).expand(2, 2, 2)
    assert energy_inside(saliency, region).tolist() == [0.5, 0.0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_average_precision_is_that_of_scikit_learn_with_and_without_ties(seed, levels):
    rng = np.random.default_rng(seed)
    saliency = rng.integers(0, levels + 1, (3, 5, 6)) / levels if levels < 6 else rng.random((3, 5, 6))
    region = rng.random((3, 5, 6)) < 0.3
    region[:, 0, 0] = True
    expected = [average_precision_score(r.ravel(), s.ravel()) for r, s in zip(region, saliency, strict=True)]
    found = average_precision(torch.from_numpy(saliency), torch.from_numpy(region))
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_sharpening_a_map_raises_energy_and_leaves_average_precision():
    generator = torch.Generator().manual_seed(0)
    region = torch.zeros(4, 16, 16, dtype=torch.bool)
    region[:, 4:10, 5:12] = True
    saliency = torch.rand(4, 16, 16, generator=generator, dtype=torch.float64) * (0.5 + region.double())
    torch.testing.assert_close(average_precision(saliency**3, region), average_precision(saliency, region))
    assert (energy_inside(saliency**3, region) > energy_inside(saliency, region) + 0.02).all()


def test_an_empty_map_gets_the_regions_share_and_no_region_is_undefined():
    region = torch.zeros(2, 4, 4, dtype=torch.bool)
    region[0, :2] = True
    found = average_precision(torch.zeros(2, 4, 4), region)
    assert float(found[0]) == 0.5
    assert found[1].isnan()


def test_the_interval_covers_the_mean_and_shrinks_with_images():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(4000, generator=generator) + 2
    few, many = bootstrap_mean(values[:100]), bootstrap_mean(values)
    assert few.low < few.mean < few.high
    assert many.high - many.low == pytest.approx(2 * 1.96 / 4000**0.5, rel=0.15)
    assert few.high - few.low > 4 * (many.high - many.low)
    assert bootstrap_mean(torch.tensor([1.0, float("nan"), 3.0])).n == 2
    assert bootstrap_mean(torch.tensor([float("nan")])).n == 0
