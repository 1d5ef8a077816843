"""Parts painted over, and shapes moved elsewhere."""

import pytest
import torch

from finercam.studies.traits.painting import elsewhere, painted_over


def disc(y, x, radius, size=(48, 64)):
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_what_is_painted_over_has_the_colours_around_it():
    torch.manual_seed(0)
    plain = torch.tensor([0.3, -1.0, 2.0])[:, None, None].expand(3, 48, 64)
    mask = disc(20, 30, 9)
    spotted = torch.where(mask, torch.randn(3, 48, 64), plain)
    painted = painted_over(spotted[None], mask[None])[0]
    torch.testing.assert_close(painted, plain, atol=1e-5, rtol=0)


def test_what_is_not_painted_over_stays_as_it_was_and_nothing_shines_through():
    torch.manual_seed(0)
    images, mask = torch.randn(2, 3, 48, 64), torch.stack([disc(20, 30, 9), disc(5, 60, 12)])
    painted = painted_over(images, mask)
    kept = ~mask[:, None].expand_as(images)
    assert torch.equal(painted[kept], images[kept])
    # What was under the mask has no say in what is there now.
    other = torch.where(mask[:, None], torch.randn_like(images), images)
    assert torch.equal(painted, painted_over(other, mask))


def test_colours_on_two_sides_meet_in_the_middle():
    image = torch.zeros(1, 1, 16, 64)
    image[..., 32:] = 1
    mask = torch.zeros(1, 16, 64, dtype=torch.bool)
    mask[:, :, 20:44] = True
    row = painted_over(image, mask)[0, 0, 8, 20:44]
    assert row[0] < 0.25
    assert row[-1] > 0.75
    assert bool((row.diff() > -1e-6).all())


def test_an_image_that_is_painted_over_altogether_is_the_mean_colour():
    image = torch.randn(1, 3, 15, 17)
    assert torch.equal(painted_over(image, torch.ones(1, 15, 17, dtype=torch.bool)), torch.zeros_like(image))


@pytest.mark.parametrize("seed", range(5))
def test_a_shape_moves_elsewhere_on_the_object(seed):
    within, mask = disc(24, 32, 20), disc(20, 30, 4)
    moved = elsewhere(mask, within, seed)
    assert int(moved.sum()) == int(mask.sum())
    assert not bool((moved & mask).any())
    ys, xs = moved.nonzero(as_tuple=True)
    assert bool(within[round(float(ys.double().mean())), round(float(xs.double().mean()))])
    assert torch.equal(moved, elsewhere(mask, within, seed))


def test_shapes_move_to_many_places():
    within, mask = disc(24, 32, 20), disc(20, 30, 4)
    middles = {tuple(elsewhere(mask, within, seed).nonzero()[0].tolist()) for seed in range(20)}
    assert len(middles) > 10


def test_a_shape_has_somewhere_to_go_where_no_object_is_in_sight():
    mask = disc(20, 30, 4)
    assert int(elsewhere(mask, torch.zeros_like(mask), 3).sum()) > 0
