"""Regions of a photo: their parts, outlines and pixels, against scipy and literal definitions."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

from finercam import FinercamError
from finercam.data.regions import Region, connected, levelled, regions_of


def blobs(seed, height=60, width=83, level=0.0, smooth=2.0):
    noise = np.random.default_rng(seed).normal(size=(height, width))
    return ndimage.gaussian_filter(noise, smooth) > level


@pytest.mark.parametrize(
    "mask", [blobs(0), blobs(1, smooth=0.3), blobs(2, 1, 50), blobs(3, 50, 1), np.ones((3, 4), bool)]
)
def test_connected_parts_are_scipys(mask):
    labels, count = ndimage.label(mask)
    parts = connected(mask)
    assert len(parts) == count
    seen = np.zeros(mask.shape, int)
    for x, y, inside in parts:
        here = seen[y : y + inside.shape[0], x : x + inside.shape[1]]
        here += inside
        own = np.zeros(mask.shape, bool)
        own[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        assert np.array_equal(own, labels == labels[own][0])
        assert inside.any(0).all() or inside.any(0)[[0, -1]].all()
    assert np.array_equal(seen, mask)
    assert connected(np.zeros((4, 5), bool)) == []


def drawn(region):
    """The pixels whose middles are in the polygon, by the even-odd rule."""
    width, height = region.photo
    big = Image.new("1", (width * 8, height * 8))
    ImageDraw.Draw(big).polygon([(8 * x, 8 * y) for x, y in region.polygon], fill=1)
    return np.asarray(big)[4::8, 4::8]


@pytest.mark.parametrize("seed", range(4))
def test_an_outline_goes_around_its_pixels_but_for_about_one(seed):
    for x, y, inside in connected(blobs(seed, 300, 400, smooth=12.0)):
        whole = np.zeros((300, 400), bool)
        whole[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        region = Region.of(whole)
        filled = ndimage.binary_fill_holes(whole)
        off = drawn(region) ^ filled
        # Nothing is off by more than the pixel beside the edge and the one after.
        edge = ndimage.binary_dilation(filled, iterations=2) & ~ndimage.binary_erosion(filled, iterations=2)
        assert not (off & ~edge).any()
        assert len(region.polygon) < max(12, edge.sum() / 4 / 5)


def test_the_outline_of_few_pixels_is_exact():
    mask = np.zeros((6, 7), bool)
    mask[2:4, 3:6] = True
    assert set(Region.of(mask).polygon) == {(3, 2), (6, 2), (6, 4), (3, 4)}
    # Corners that only touch are not crossed.
    pinched = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]], bool)
    region = Region.of(pinched)
    assert region.box == (0, 0, 3, 3)
    assert region.area == 7


def test_a_region_keeps_its_mask_and_what_it_is_of():
    mask = blobs(4)
    region = Region.of(mask, 0.4, ["a", "b"])
    assert np.array_equal(region.mask, mask)
    assert (region.area, region.photo, region.score, region.classes) == (mask.sum(), (83, 60), 0.4, ("a", "b"))
    for wrong in (np.zeros((3, 3), bool), np.ones((3, 3)), np.ones(3, bool)):
        with pytest.raises(FinercamError, match="with a pixel in it"):
            Region.of(wrong)


def test_the_levels_are_their_definitions():
    heat = torch.tensor([[0.0, 1, 2, 3], [4, 0, 0, 10], [float("nan"), 0, 0, 0]])
    assert levelled(heat, "threshold", 0.3).nonzero().tolist() == [[0, 3], [1, 0], [1, 3]]
    # 11 pixels were seen; 4.4 of them are 4.
    assert levelled(heat, "top", 0.4).sum() == 4
    assert levelled(heat, "top", 1.0).sum() == 5
    assert levelled(heat, "energy", 0.5).nonzero().tolist() == [[1, 3]]
    assert levelled(heat, "energy", 0.6).nonzero().tolist() == [[1, 0], [1, 3]]
    assert levelled(heat, "energy", 1.0).sum() == 5
    for way in ("threshold", "top", "energy"):
        assert not levelled(torch.zeros(3, 4), way, 0.5).any()


def test_scores_are_shares_of_the_evidence_and_order_the_parts():
    heat = torch.zeros(8, 9)
    heat[1, 1], heat[5, 5:7] = 2.0, 3.0
    heat[7, 0] = 0.05
    found = regions_of(heat, heat > 0, classes=["a"])
    assert [round(region.score, 3) for region in found] == [0.745, 0.248, 0.006]
    assert found[0].box == (5, 5, 7, 6)
    assert len(regions_of(heat, heat > 0, least=0.01)) == 2
