"""Intervals of means: that they cover the mean as often as they say, and what is undefined is left out."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from finercam.metrics.intervals import Mean, _student, mean_of


def drawn(kind: str, *shape: int) -> tuple[Tensor, float]:
    """Values of a law, and its mean."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(*shape, generator=generator, dtype=torch.float64)
    if kind == "exponential":
        return -uniform.log(), 1.0
    if kind == "squares":
        return uniform.square(), 1 / 3
    return torch.randn(*shape, generator=generator, dtype=torch.float64), 0.0


@pytest.mark.parametrize("kind", ["exponential", "squares", "normal"])
@pytest.mark.parametrize("n", [5, 12, 20, 100])
def test_ninety_five_of_a_hundred_intervals_cover_the_mean(kind: str, n: int) -> None:
    """On skewed values too: the bootstrap's percentiles cover 80 %, Student's interval 88 % at n = 5."""
    samples, mean = drawn(kind, 1000, n)
    found = [mean_of(sample) for sample in samples]
    covered = sum(one.low <= mean <= one.high for one in found) / len(found)
    assert 0.91 < covered < 0.985
    # Not by being wide for nothing: of a normal law it is Student's, and nearly so of many values.
    widths = torch.tensor([one.high - one.low for one in found], dtype=torch.float64)
    students = 2 * stats.t.ppf(0.975, n - 1) * samples.std(1) / n**0.5
    assert float((widths / students).median()) < (1.7 if n < 20 else 1.15)


@pytest.mark.parametrize("freedom", [*range(1, 30), 100, 10_000])
def test_students_law(freedom: int) -> None:
    assert _student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_values_without_skewness_have_students_interval() -> None:
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]) + 2
    found = mean_of(values)
    low, high = stats.t.interval(0.95, 4, 2.0, stats.sem(values.numpy()))
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-3)


def test_the_longer_side_is_that_of_the_longer_tail() -> None:
    found = mean_of(torch.tensor([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 2.0]))
    assert found.high - found.mean > 2 * (found.mean - found.low)
    other = mean_of(-torch.tensor([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 2.0]))
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_undefined_values_are_not_counted() -> None:
    found = mean_of(torch.tensor([1.0, math.nan, 3.0]))
    assert (found.mean, found.n) == (2.0, 2)
    nothing = mean_of(torch.tensor([math.nan]))
    assert nothing.n == 0
    assert math.isnan(nothing.mean)
    assert str(nothing) == ""


def test_one_value_has_no_interval() -> None:
    found = mean_of(torch.tensor([0.25]))
    assert (found.mean, found.n) == (0.25, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert str(found) == "0.250"


def test_too_few_values_are_not_judged() -> None:
    assert not Mean(0.5, 0.4, 0.6, 11).leaves_out_zero
    assert Mean(0.5, 0.4, 0.6, 12).leaves_out_zero
    assert Mean(-0.5, -0.6, -0.4, 12).leaves_out_zero
    assert not Mean(0.5, -0.1, 1.1, 400).leaves_out_zero


@pytest.mark.parametrize("n", [19_999, 29_999, 100_003])
def test_many_values_have_the_interval_of_the_normal_law(n: int) -> None:
    """All of them: where some are dropped it is wider, by 22 % at 29,999."""
    values = torch.rand(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64).square()
    found = mean_of(values)
    error = float(values.std()) / math.sqrt(n)
    assert found.mean == pytest.approx(float(values.mean()), abs=1e-12)
    assert found.n == n
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.01)
