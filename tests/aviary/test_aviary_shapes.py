import math

import numpy as np
import pytest

from finercam.aviary.shapes import Window, cover, ellipse, relief, round_cone, segment, upright
from finercam.aviary.textures import cloth, grain, sheet, tile

WHOLE = Window(0, 64, 0, 64)


@pytest.fixture
def plane():
    return upright(30.3, 33.8, 1.0).local(WHOLE)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_frame_undoes_its_own_pixels(mirror):
    frame = upright(20.0, 11.0, 7.0, 0.4, mirror=mirror).child(0.3, -1.2, 2.1, 0.5).child(1.0, 0.5, -0.7, mirror=True)
    u, v = frame.local(WHOLE)
    for row, column in ((0, 0), (11, 40), (63, 7)):
        assert frame.pixel(float(u[row, column]), float(v[row, column])) == pytest.approx((column, row), abs=1e-3)


def test_turning_an_upright_frame_raises_its_front_whichever_way_it_looks():
    for mirror in (False, True):
        x, y = upright(0.0, 0.0, 1.0, mirror=mirror).child(0.0, 0.0, -0.5).pixel(1.0, 0.0)
        assert (x, y) == pytest.approx(((-1 if mirror else 1) * math.cos(0.5), -math.sin(0.5)))


def test_a_mirrored_child_looks_back_and_stays_upright():
    back = upright(5.0, 6.0, 2.0).child(0.0, 0.0, math.pi, mirror=True)
    assert back.pixel(1.0, 0.0) == pytest.approx((3.0, 6.0))
    assert back.pixel(0.0, 1.0) == pytest.approx((5.0, 8.0))


def test_round_cone_is_the_distance_to_its_circles(plane):
    u, v = plane
    t = np.linspace(0, 1, 4001)[:, None, None]
    literal = (np.hypot(u - 20 * t, v) - (9 + (3 - 9) * t)).min(0)
    np.testing.assert_allclose(round_cone(u, v, 20.0, 9.0, 3.0), literal, atol=2e-3)


def test_segment_is_the_distance_to_its_points(plane):
    u, v = plane
    t = np.linspace(0, 1, 4001)[:, None, None]
    literal = (np.hypot(u - 14 * t, v + 9 * t)).min(0) - 2.5
    np.testing.assert_allclose(segment(u, v, 14.0, -9.0, 2.5), literal, atol=5e-3)


def test_coverage_adds_up_to_the_area(plane):
    u, v = plane
    assert cover(ellipse(u, v, 21.0, 9.0), 1.0).sum() == pytest.approx(math.pi * 21 * 9, rel=0.01)


def test_relief_is_brightest_towards_the_light(plane):
    u, v = plane
    d = ellipse(u, v, 20.0, 20.0)
    light = relief(d, 20.0, (-0.6, -0.6, math.sqrt(1 - 0.72)))
    inside = d < -2
    assert light[inside].max() <= 1.01
    row, column = np.unravel_index(np.where(inside, light, -1).argmax(), light.shape)
    assert column < 26
    assert row < 30
    # The literal n . l of a ball, away from the edge, where distances are differenced.
    normal = np.stack([u / 20, v / 20, np.sqrt(np.clip(1 - (u**2 + v**2) / 400, 0, 1))])
    literal = np.tensordot(np.array([-0.6, -0.6, math.sqrt(0.28)]), normal, 1)
    core = (d < -2) & (np.hypot(u, v) > 2)
    np.testing.assert_allclose(light[core], literal[core], atol=0.03)


def test_tiles_repeat_without_a_seam_and_cover_their_range():
    noise = tile(8, 3)
    inner = np.abs(np.diff(noise, axis=0)).max()
    assert np.abs(noise[0] - noise[-1]).max() <= inner
    assert np.abs(noise[:, 0] - noise[:, -1]).max() <= np.abs(np.diff(noise, axis=1)).max()
    assert np.abs(noise).max() == 1.0
    assert grain().std() == pytest.approx(1.0, abs=0.01)
    assert sheet(noise, 96, (0.99, 0.99)).shape == (96, 96)


def test_cloth_is_the_tile_in_local_coordinates():
    u, v = upright(32.0, 32.0, 32.0).local(WHOLE)
    rows, columns = (np.floor(x * 40.0 + at * 512).astype(int) % 512 for x, at in ((v, 0.03), (u, 0.02)))
    assert np.array_equal(cloth(tile(8), u, v, (40.0, 40.0), (0.02, 0.03)), tile(8)[rows, columns])
