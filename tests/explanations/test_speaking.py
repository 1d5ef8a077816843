"""What a region speaks for: exact where the network ends in pooling, said to be an attribution elsewhere."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from finercam import Classifier, FinercamError, explain
from finercam.explanations.speaking import cover
from finercam.methods.evidence import NotGathered
from support.colour_birds import SPECIES, ColourNet, draw_bird, to_tensor


def squashed(picture):
    return to_tensor(picture.resize((64, 64)))


def bird(width=180, height=300):
    photo = Image.new("RGB", (width, height), "#777777")
    photo.paste(draw_bird(0).resize((width, width)), (0, (height - width) // 2))
    return photo


@pytest.fixture(scope="module")
def pooled():
    return Classifier.of(ColourNet(), preprocess=squashed, class_names=SPECIES, name="colours")


class Bent(nn.Module):
    """Not linear after the layer that is looked at."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 5, 8)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 64, 20), nn.Tanh(), nn.Linear(20, 4))

    def forward(self, images):
        return self.head(self.stem(images).relu())


@pytest.fixture(scope="module")
def bent():
    torch.manual_seed(3)
    return Classifier.of(Bent().eval(), preprocess=squashed, layer="stem", image_size=(64, 64))


def test_the_regions_of_a_partition_add_up_to_the_logits_but_for_the_bias(pooled):
    e = explain(pooled, bird(), keep=True)
    parts = [e.speaks(box) for box in ((0, 0, 77, 300), (77, 0, 180, 111), (77, 111, 180, 300))]
    assert all(part.exact for part in parts)
    total = sum(part.shares for part in parts)
    bias = [module for module in pooled.module.modules() if isinstance(module, nn.Linear)][-1].bias
    torch.testing.assert_close(total + bias.detach(), e.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(parts[0].rest, bias.detach().to(parts[0].rest), atol=1e-4, rtol=1e-4)
    assert sum(part.area for part in parts) == pytest.approx(1)


def test_an_exact_share_is_what_the_logit_loses_with_these_cells(pooled):
    e = explain(pooled, bird(), keep=True)
    (a,) = e.evidence.activations
    w = a.shape[3]
    spoken = e.speaks((180 * 2 / w, 0, 180 * 5 / w, 300))
    head = [module for module in pooled.module.modules() if isinstance(module, nn.Linear)][-1]
    without = a.clone()
    without[:, :, :, 2:5] = 0
    lost = head(a.mean((2, 3))) - head(without.mean((2, 3)))
    torch.testing.assert_close(spoken.shares, lost[0].detach(), atol=1e-4, rtol=1e-4)


def test_box_polygon_and_mask_of_the_same_place_agree(pooled):
    e = explain(pooled, bird(), keep=True)
    mask = np.zeros((300, 180), bool)
    mask[60:200, 30:100] = True
    box = e.speaks((30, 60, 100, 200))
    for region in ([(30, 60), (100, 60), (100, 200), (30, 200)], mask, torch.from_numpy(mask)):
        torch.testing.assert_close(e.speaks(region).shares, box.shares)
    triangle = e.speaks([(0, 0), (180, 0), (0, 300)])
    assert triangle.area == pytest.approx(0.5, abs=0.01)


def test_cells_that_do_not_fit_the_pixels_share_them():
    inside = torch.zeros(5, 7, dtype=torch.bool)
    inside[1:3, 2:6] = True
    found = cover(inside, (2, 3))
    fine = inside.repeat_interleave(2, 0).repeat_interleave(3, 1).double()
    expected = nn.functional.avg_pool2d(fine[None, None], (5, 7))[0, 0]
    torch.testing.assert_close(found, expected)


def test_elsewhere_it_is_an_attribution_and_says_so(bent):
    e = explain(bent, bird(), keep=True, collect=4)
    whole = e.speaks((0, 0, 180, 300))
    assert not whole.exact
    assert "attribution" in str(whole)
    (a,), (g,) = e.evidence.activations, e.evidence.gradient(torch.eye(4)[None].to(e.logits))
    expected = (a[:, None] * g).sum((2, 3, 4))[0]
    torch.testing.assert_close(whole.shares[[whole.classes.index(c) for c in range(4)]], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(whole.shares + whole.rest, whole.logits, atol=1e-5, rtol=1e-4)


def test_the_table_and_the_difference_say_the_same(pooled):
    e = explain(pooled, bird(), keep=True)
    spoken = e.speaks((30, 60, 100, 200))
    rows = {row["index"]: row for row in spoken.table()}
    for reference in e.references:
        assert rows[reference]["target_over"] == pytest.approx(spoken.difference(reference), abs=1e-6)
        assert rows[reference]["whole"] == pytest.approx(float(e.logits[e.target] - e.logits[reference]), abs=1e-5)
        assert f"{spoken.difference(reference):+.2f} for {SPECIES[e.target]} over {SPECIES[reference]}" in str(spoken)
    shares = [row["share"] for row in spoken.table()]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ((5, 5, 5, 9), "x0 < x1"),
        ((1, 2), "a region is"),
        ([(0, 0), (1, float("nan")), (2, 2)], "finite"),
        (np.zeros((10, 10), bool), "does not fit"),
        ("left wing", "in numbers"),
        ([None, 1, 2, 3], "in numbers"),
    ],
)
def test_what_is_no_region_is_refused(pooled, region, said):
    with pytest.raises(FinercamError, match=said):
        explain(pooled, bird(), keep=True).speaks(region)


def test_without_gradients_there_is_no_answer(pooled, bent):
    with pytest.raises(NotGathered, match="keep=True"):
        explain(pooled, bird()).speaks((0, 0, 5, 5))
    with pytest.raises(NotGathered, match="HiRes-CAM"):
        explain(bent, bird(), method="scorecam", keep=True).speaks((0, 0, 5, 5))
    found = explain(bent, bird(), references=1, keep=True)
    other = next(c for c in range(4) if c not in found.evidence.classes())
    spoken = found.speaks((0, 0, 90, 90))
    with pytest.raises(FinercamError, match="collect="):
        spoken.difference(other)


def test_a_tensor_has_its_own_coordinates(pooled):
    e = explain(pooled, squashed(bird()), keep=True)
    left, right = e.speaks((0, 0, 32, 64)), e.speaks((32, 0, 64, 64))
    assert left.area == right.area == 0.5
    torch.testing.assert_close(left.shares + right.shares + left.rest, e.logits, atol=1e-4, rtol=1e-4)
