"""The quick way of ranking pixels on a processor, against a stable sort."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from finercam.errors import FinercamError
from finercam.metrics.masking import ranking

AWKWARD = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    float("inf"),
    float("-inf"),
    1e-45,
    -1e-45,
    1.1754944e-38,
    -1.1754944e-38,
    1e-40,
    -1e-40,
    3.4028235e38,
    -3.4028235e38,
    1.0000001,
    -1.0000001,
]


def literal(values):
    """Ranks by a sort that keeps the order of equals; -0 equals 0."""
    order = sorted(range(len(values)), key=lambda index: -values[index])
    ranks = [0] * len(values)
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_awkward_numbers(dtype):
    generator = np.random.default_rng(0)
    values = torch.tensor(generator.choice(AWKWARD, (20, 5, 16)), dtype=dtype)
    found = ranking(values).flatten(1).tolist()
    assert found == [literal(row) for row in values.flatten(1).double().tolist()]


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=3, max_dims=3, max_side=6),
        elements=st.one_of(
            st.sampled_from([float(np.float32(v)) for v in AWKWARD]), st.floats(width=32, allow_nan=False)
        ),
    )
)
def test_any_numbers(values):
    found = ranking(torch.from_numpy(values.copy())).flatten(1).tolist()
    assert found == [literal(row) for row in values.reshape(len(values), -1).tolist()]


def test_it_is_the_stable_sort_on_maps_with_flat_parts():
    generator = torch.Generator().manual_seed(0)
    saliency = torch.randn(8, 56, 56, generator=generator).mul(4).round().relu()
    ranks = ranking(saliency)
    order = saliency.flatten(1).argsort(dim=1, descending=True, stable=True)
    assert torch.equal(ranks.flatten(1).gather(1, order), torch.arange(56 * 56).expand(8, -1))


def test_a_map_that_is_no_number_is_refused():
    saliency = torch.rand(2, 4, 4)
    saliency[1, 2, 3] = torch.nan
    with pytest.raises(FinercamError, match="NaN"):
        ranking(saliency)


def test_what_is_not_contiguous_is_ranked_as_it_is():
    saliency = torch.rand(2, 5, 7).mT
    assert torch.equal(ranking(saliency), ranking(saliency.contiguous()))
