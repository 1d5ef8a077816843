"""Masking metrics against hand-computed values and torchcam."""

import pytest
import torch
from torch import nn

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError
from finercam.metrics.masking import deletion, drop, filling, insertion, ranking, top_count, without_top


def mean_score(images):
    """Two classes: how much of the first channel is left, and a constant."""
    left = images[:, 0].mean((1, 2))
    return torch.stack([left, torch.full_like(left, 0.25)], 1)


def test_exactly_the_floor_of_the_fraction_is_masked_whatever_the_ties():
    images = torch.ones(2, 3, 7, 9)
    for saliency in (torch.zeros(2, 7, 9), torch.rand(2, 7, 9), (torch.rand(2, 7, 9) > 0.5).float()):
        for fraction in (0.0, 0.05, 0.1, 0.5, 1.0):
            masked = without_top(images, ranking(saliency), fraction, filling(images))
            assert (masked[:, 0] == 0).flatten(1).sum(1).tolist() == [int(fraction * 63)] * 2
    assert [top_count(f, 100) for f in (0.29, 0.57, 0.1)] == [29, 57, 10]
    with pytest.raises(FinercamError, match="between 0 and 1"):
        top_count(1.1, 100)


def test_the_most_salient_go_first_and_ties_by_pixel_order():
    saliency = torch.tensor([[[0.0, 2.0, 1.0], [1.0, 0.0, 3.0]]])
    assert ranking(saliency).tolist() == [[[4, 1, 2], [3, 5, 0]]]


def test_relative_drop_is_eq_10():
    before = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]])
    after = torch.tensor([[0.3, 0.4, 0.3], [0.4, 0.1, 0.5]])
    found = drop(before, after, torch.tensor([0, 0]), torch.tensor([1, 2]))
    assert found.confidence.tolist() == pytest.approx([0.4, 0.1])
    assert found.relative.tolist() == pytest.approx([0.4 - (0.2 - 0.4), 0.1 - (0.2 - 0.5)])


def test_deletion_of_a_linear_score_is_its_curve():
    images = torch.zeros(1, 3, 2, 2)
    images[0, 0] = torch.tensor([[4.0, 2.0], [1.0, 1.0]])
    curve = deletion(mean_score, images, images[:, 0], torch.tensor([0]), torch.tensor([1]), steps=4)
    assert curve.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.target[0].tolist() == [2.0, 1.0, 0.5, 0.25, 0.0]
    assert curve.other[0].tolist() == [0.25] * 5
    assert float(curve.area) == pytest.approx(0.25 * (1.0 + 1.0 + 0.5 + 0.25))
    backwards = deletion(mean_score, images, -images[:, 0], torch.tensor([0]), torch.tensor([1]), steps=4)
    assert float(backwards.area) > float(curve.area)


def test_insertion_ends_with_the_image_and_starts_from_the_fill():
    images = torch.rand(2, 3, 8, 8)
    saliency = torch.rand(2, 8, 8)
    zero = torch.zeros_like(images)
    curve = insertion(mean_score, images, saliency, torch.tensor([0, 0]), torch.tensor([1, 1]), steps=8, fill=zero)
    torch.testing.assert_close(curve.target[:, -1], images[:, 0].mean((1, 2)))
    assert curve.target[:, 0].tolist() == [0.0, 0.0]
    gone = deletion(mean_score, images, saliency, torch.tensor([0, 0]), torch.tensor([1, 1]), steps=8)
    torch.testing.assert_close(curve.target + gone.target, images[:, 0].mean((1, 2))[:, None].expand(2, 9))


def test_fills():
    images = torch.rand(1, 3, 32, 48)
    black = filling(images, "black", (0.5, 0.4, 0.3), (0.25, 0.2, 0.1))
    assert black[0, :, 0, 0].tolist() == pytest.approx([-2.0, -2.0, -3.0])
    flat = torch.full((1, 3, 32, 48), 0.7)
    torch.testing.assert_close(filling(flat, "blur"), flat)
    blurred = filling(images, "blur")
    assert float(blurred.std()) < 0.4 * float(images.std())
    assert float(blurred.mean()) == pytest.approx(float(images.mean()), abs=0.02)
    with pytest.raises(FinercamError, match="'mean'"):
        filling(images, "means")
    with pytest.raises(FinercamError, match="needs the preprocessing"):
        filling(images, "black")


def test_areas_are_those_of_torchcam():
    import_torchvision()
    from torchcam.methods import GradCAM
    from torchcam.metrics import DeletionInsertionMetric

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    # Positive weights over a ReLU: the maps have no ties at zero, whose order is each library's own.
    net[4].weight.data.abs_()
    net[0].bias.data.fill_(0.5)
    images = torch.rand(3, 3, 20, 20)
    target = torch.tensor([1, 2, 0])
    with GradCAM(net, "1") as extractor:
        metric = DeletionInsertionMetric(extractor, logits_fn=lambda y: y.softmax(1), steps=10)
        metric.update(images, class_idx=target.tolist())
        theirs = metric.summary()
        # torchcam explains what its metric scores, here the probability.
        scores = net(images).softmax(1)
        maps = extractor(target.tolist(), scores)[0]
    saliency = nn.functional.interpolate(maps[:, None], (20, 20), mode="bilinear", align_corners=False)[:, 0].detach()

    def score(batch):
        with torch.no_grad():
            return net(batch).softmax(1)

    gone = deletion(score, images, saliency, target, target, steps=10)
    back = insertion(score, images, saliency, target, target, steps=10, fill=torch.zeros_like(images))
    assert float(gone.area.mean()) == pytest.approx(theirs["deletion_auc"], abs=1e-5)
    assert float(back.area.mean()) == pytest.approx(theirs["insertion_auc"], abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_every_point_of_every_curve_is_that_of_quantus():
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    images, saliency, target = torch.randn(3, 3, 12, 12), torch.rand(3, 12, 12), torch.tensor([1, 2, 0])
    # It takes away single values, the three of a pixel one after another, and leaves out the untouched image.
    flipping = quantus.PixelFlipping(
        features_in_step=3 * 12, perturb_baseline=0.4, abs=False, normalise=False, disable_warnings=True
    )
    theirs = flipping(net, images.numpy(), target.numpy(), saliency[:, None].numpy(), softmax=True)

    def score(batch):
        with torch.no_grad():
            return net(batch).softmax(1)

    fill = torch.full_like(images, 0.4)
    curve = deletion(score, images, saliency, target, target, steps=12, fill=fill)
    torch.testing.assert_close(curve.target[:, 1:], torch.tensor(theirs))
    torch.testing.assert_close(curve.target[:, 0], score(images)[torch.arange(3), target])
