"""Maps that know nothing of the network."""

import numpy as np
import pytest
import torch

from finercam.metrics.controls import CONTROLS, controls

SIZE = (10, 14)


def test_noise_belongs_to_the_image_and_not_to_the_batch():
    together = controls([3, 8, 5], SIZE)
    assert tuple(together) == CONTROLS
    for place, number in enumerate((3, 8, 5)):
        alone = controls([number], SIZE)
        for name in CONTROLS:
            assert together[name].shape == (3, *SIZE)
            assert torch.equal(together[name][place], alone[name][0])
    for name in ("random", "blurred random"):
        assert not torch.equal(together[name][0], together[name][1])


def test_each_is_what_its_name_says():
    found = controls([7], SIZE)
    generator = torch.Generator().manual_seed(7)
    assert torch.equal(found["random"][0], torch.rand(SIZE, generator=generator))
    coarse = torch.nn.functional.interpolate(torch.rand(1, 1, 7, 7, generator=generator), SIZE, mode="bilinear")
    assert torch.equal(found["blurred random"], coarse[:, 0])
    ys, xs = (np.linspace(-1, 1, n) for n in SIZE)
    assert found["centre"][0].numpy() == pytest.approx(np.exp(-2 * (ys[:, None] ** 2 + xs[None] ** 2)), abs=1e-6)


def test_no_random_number_of_the_caller_is_used():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    controls([1, 2], SIZE)
    assert torch.equal(torch.get_rng_state(), before)
