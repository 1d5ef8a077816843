"""Likeness of maps against SciPy and Quantus."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from finercam.metrics.correlation import correlation, rank_correlation


def pairs(seed: int, levels: int):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, levels + 1, (2, 4, 5, 6)).astype(float)
    b[1:] += a[1:] * rng.random((3, 1, 1))
    return torch.from_numpy(a), torch.from_numpy(b)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 5, 10**6]))
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_correlations_are_those_of_scipy_with_and_without_ties(seed, levels):
    a, b = pairs(seed, levels)
    for found, theirs in ((rank_correlation(a, b), spearmanr), (correlation(a, b), pearsonr)):
        expected = [theirs(x.ravel(), y.ravel()).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
        assert found.tolist() == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.filterwarnings("ignore")
def test_correlations_are_those_of_quantus():
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    a, b = pairs(0, 10)
    flat = a.flatten(1).numpy(), b.flatten(1).numpy()
    ranks = quantus.similarity_func.correlation_spearman(*flat, batched=True)
    values = quantus.similarity_func.correlation_pearson(*flat, batched=True)
    assert rank_correlation(a, b).tolist() == pytest.approx(list(ranks))
    assert correlation(a, b).tolist() == pytest.approx(list(values))


def test_a_map_is_like_itself_and_unlike_its_negative():
    a, b = (m.float() for m in pairs(3, 10**6))
    for alike in (rank_correlation, correlation):
        assert alike(a, a).tolist() == pytest.approx([1.0] * 4)
        assert alike(a, -a).tolist() == pytest.approx([-1.0] * 4)
        torch.testing.assert_close(alike(a, b), alike(b, a))
        torch.testing.assert_close(alike(a, b), alike(1e-12 * a, b / 1e-12), rtol=1e-5, atol=1e-6)
        assert float(alike(a, a).max()) <= 1
    torch.testing.assert_close(rank_correlation(a, b), rank_correlation(a.pow(3), b.sqrt()))


def test_a_constant_map_and_one_with_nan_are_like_nothing():
    a, b = (m.float() for m in pairs(4, 10))
    a[0], a[1] = 0.0, 0.1
    b[2, 0, 0] = math.nan
    for alike in (rank_correlation, correlation):
        assert alike(a, b).isnan().tolist() == [True, True, True, False]
        assert alike(b, a).isnan().tolist() == [True, True, True, False]
