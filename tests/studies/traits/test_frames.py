import math

import pytest
import torch

from finercam.studies.traits.frames import CELLS, aligned, evidence_on, frame_of, on_frame
from support.carried import carried, spot

#: Of something that is not its own mirror image: bill, crown, wing, tail, foot.
BIRD = torch.tensor([[0.15, 0.35], [0.25, 0.2], [0.5, 0.5], [0.9, 0.6], [0.5, 0.85]], dtype=torch.float64)


def photographed(count: int, noise: float = 0.0, aspect: float = 1.0, seed: int = 0):
    """Return the bird's points turned, scaled, shifted, every third mirrored, as fractions of the input."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for number in range(count):
        angle, scale, dx, dy = torch.rand(4, generator=generator).double().tolist()
        angle, scale = 0.8 * (angle - 0.5), 0.3 + 0.3 * scale
        own = (BIRD - BIRD.mean(0)) * torch.tensor([-1.0 if number % 3 == 2 else 1.0, 1.0])
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        at = scale * own @ turn.double().T + torch.tensor([0.4 + 0.2 * dx, 0.4 + 0.2 * dy])
        at += noise * torch.randn(at.shape, generator=generator)
        found.append(at / torch.tensor([aspect, 1.0]))
    return torch.stack(found)


def on_input(frame, at):
    """Return where the frame's mean points lie in each input."""
    one = torch.cat([frame.points, torch.ones(len(frame.points), 1)], 1).double()
    return frame.places[at] @ one.T


@pytest.mark.parametrize("aspect", [1.0, 1.5])
def test_what_was_turned_scaled_and_mirrored_is_laid_over_each_other(aspect):
    points = photographed(9, aspect=aspect)
    hidden = points.clone()
    # What is out of sight is fitted by the rest.
    hidden[1, 3], hidden[4, :2] = torch.nan, torch.nan
    frame = aligned(hidden, aspect)
    assert frame.photos == tuple(range(9))
    for number in range(9):
        assert torch.allclose(on_input(frame, number).T, points[number], atol=1e-5)
    # Mirrored are the three that were.
    assert [bool(one.det() < 0) for one in frame.places[:, :, :2]] == [number % 3 == 2 for number in range(9)]
    # It stands upright: the crown above the foot, facing left as most of them do.
    assert frame.points[1, 1] < frame.points[4, 1]
    assert frame.points[0, 0] < frame.points[3, 0]
    assert bool(((frame.points > 0) & (frame.points < 1)).all())


def test_photos_with_too_few_points_have_no_place():
    points = photographed(5)
    points[2, 2:] = torch.nan
    assert aligned(points).photos == (0, 1, 3, 4)
    assert aligned(points[2:3]) is None
    assert aligned(torch.full((4, 5, 2), torch.nan)) is None


def test_noise_in_the_points_leaves_their_mean():
    frame, exact = aligned(photographed(60, noise=0.01)), aligned(photographed(60))
    assert torch.allclose(frame.points, exact.points, atol=0.02)


def test_heat_on_a_part_lies_on_that_part_and_none_of_it_is_lost():
    points = photographed(9)
    rows = [
        carried(number, points=own.flatten().tolist(), heat=spot(*own[0].tolist())) for number, own in enumerate(points)
    ]
    frame = frame_of(rows, (224, 224))
    found = evidence_on([*rows, carried(9, empty=True)], frame)
    row, column = divmod(int(found.mean.argmax()), CELLS)
    at = torch.tensor([column + 0.5, row + 0.5]) / CELLS
    assert (at - frame.points[0]).norm() < 0.05
    assert float(found.mean.sum()) == pytest.approx(1, abs=0.02)
    assert found.photos == 9
    assert found.outside < 0.02
    assert found.agreement > 0.8
    # What one photo alone shows is not told as what they have in common.
    assert float(found.told.sum()) < 1
    assert found.told[row, column] > 0


def test_noise_does_not_agree():
    generator = torch.Generator().manual_seed(0)
    points = photographed(12)
    rows = []
    for number, own in enumerate(points):
        x, y = (0.2 + 0.6 * torch.rand(2, generator=generator)).tolist()
        rows.append(carried(number, points=own.flatten().tolist(), heat=spot(x, y)))
    assert evidence_on(rows, frame_of(rows, (224, 224))).agreement < 0.2


def test_points_of_one_part_are_one_point_of_the_frame():
    points = photographed(6)
    # A left and a right wing, of which one is in sight.
    both = torch.cat([points, points[:, 2:3]], 1)
    both[::2, 5], both[1::2, 2] = torch.nan, torch.nan
    rows = [carried(number, points=own.flatten().tolist()) for number, own in enumerate(both)]
    frame = frame_of(rows, (224, 224), [[0], [1], [2, 5], [3], [4]])
    assert torch.allclose(frame.points, aligned(points).points, atol=1e-5)


def test_without_points_the_box_is_the_frame():
    rows = [
        carried(0, box=[0.1, 0.2, 0.5, 0.4], heat=spot(0.15, 0.25)),
        carried(1),
        carried(2, box=[0.4, 0.5, 0.8, 0.7], heat=spot(0.45, 0.55)),
    ]
    frame = frame_of(rows, (224, 224))
    assert frame.photos == (0, 2)
    assert frame.aspect == pytest.approx(2)
    # The box is what is in the middle, and has two thirds of the width and height.
    corners = frame.places @ torch.tensor([[1 / 6, 5 / 6], [1 / 6, 5 / 6], [1, 1]]).double()
    assert torch.allclose(corners[0], torch.tensor([[0.1, 0.5], [0.2, 0.4]]).double())
    found = evidence_on(rows, frame)
    assert float(found.mean.sum()) == pytest.approx(1, abs=0.02)
    assert frame_of([carried(0)], (224, 224)) is None


def test_photos_are_laid_on_the_frame_as_their_maps_are():
    points = photographed(3)
    rows = [carried(number, points=own.flatten().tolist()) for number, own in enumerate(points)]
    frame = frame_of(rows, (224, 224))
    pictures = torch.zeros(3, 3, 224, 224)
    for own, (x, y) in zip(pictures, (points[:, 0] * 224).long().tolist(), strict=True):
        own[:, y - 4 : y + 4, x - 4 : x + 4] = 1
    laid = on_frame(pictures, frame.places).mean((0, 1))
    row, column = divmod(int(laid.argmax()), CELLS)
    assert (torch.tensor([column + 0.5, row + 0.5]) / CELLS - frame.points[0]).norm() < 0.05
