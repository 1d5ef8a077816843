"""Bootstrap intervals: of few values literally, of many by groups, and what is undefined left out."""

from __future__ import annotations

import math

import pytest
import torch

from finercam.metrics.intervals import bootstrap_mean


def test_few_values_are_resampled_literally():
    values = torch.tensor([0.0, 1.0, 4.0, 2.0, 0.5], dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    means = [values[torch.randint(5, (1, 5), generator=generator)[0]].mean() for _ in range(400)]
    expected = torch.quantile(torch.stack(means), torch.tensor([0.025, 0.975], dtype=torch.float64))
    found = bootstrap_mean(values, resamples=400, seed=3)
    assert (found.mean, found.n) == (1.5, 5)
    assert [found.low, found.high] == pytest.approx(expected.tolist())


def test_undefined_values_are_not_counted():
    found = bootstrap_mean(torch.tensor([1.0, math.nan, 3.0]))
    assert (found.mean, found.n) == (2.0, 2)
    nothing = bootstrap_mean(torch.tensor([math.nan]))
    assert nothing.n == 0
    assert math.isnan(nothing.mean)


@pytest.mark.parametrize("n", [19_999, 20_000, 100_003])
def test_many_values_have_the_interval_of_the_normal_law(n: int):
    values = torch.rand(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64).square()
    found = bootstrap_mean(values, resamples=500)
    error = float(values.std()) / math.sqrt(n)
    assert found.mean == pytest.approx(float(values.mean()), abs=1e-12)
    assert found.n == n
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.25 * error)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.25 * error)
