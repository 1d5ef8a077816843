"""Masking metrics, as they ship, against hand-computed values, torchcam and Quantus."""

import pytest
import torch
from torch import nn

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError
from finercam.metrics.masked_runs import masked_confidences
from finercam.metrics.masking import filling, ranking, top_count
from finercam.metrics.metric import find_metric
from finercam.metrics.view import UNMASKED, Cut, View
from support import literal_metrics as literal
from support.masked import log_odds, measured, rerun_of

#: What is left of the first channel.
left = log_odds(lambda images: images[:, 0].mean((1, 2)))


def classes(count, target=0, other=1):
    return torch.tensor([[target, other]] * count)


def test_exactly_the_floor_of_the_fraction_is_masked_whatever_the_ties():
    images = torch.ones(2, 3, 7, 9)
    for saliency in (torch.zeros(2, 7, 9), torch.rand(2, 7, 9), (torch.rand(2, 7, 9) > 0.5).float()):
        for fraction in (0.05, 0.1, 0.5, 1.0):
            masked = []

            def seen(copies, masked=masked):
                masked.append(copies)
                return torch.zeros(len(copies), 2)

            _, cut = find_metric(f"confidence-drop@{fraction}").needs.cuts(63)
            masked_confidences(
                rerun_of(seen),
                images,
                [{0: ranking(saliency)}],
                [cut],
                classes(2),
                torch.zeros(2, 2),
                fill=lambda name: filling(images),
            )
            (copies,) = masked
            expected = literal.without_top(images, saliency, int(fraction * 63), filling(images))
            # Where all of it is masked, nothing tells the copies of a map apart.
            assert torch.equal(copies, expected)
            assert (copies[:, 0] == 0).flatten(1).sum(1).tolist() == [int(fraction * 63)] * 2
    assert [top_count(f, 100) for f in (0.29, 0.57, 0.1, 0.0)] == [29, 57, 10, 0]
    with pytest.raises(FinercamError, match="between 0 and 1"):
        top_count(1.1, 100)


def test_the_most_salient_go_first_and_ties_by_pixel_order():
    saliency = torch.tensor([[[0.0, 2.0, 1.0], [1.0, 0.0, 3.0]]])
    assert ranking(saliency).tolist() == [[[4, 1, 2], [3, 5, 0]]]


def test_relative_drop_is_eq_10():
    # The two columns of the classes compared, of which the second image's are its first and its third class.
    before = torch.tensor([[0.7, 0.2], [0.5, 0.2]])
    after = torch.tensor([[0.3, 0.4], [0.4, 0.5]])
    view = View(torch.rand(2, 5, 4), confidences=lambda cut: {UNMASKED: before, Cut(False, 4): after}[cut])
    fell = find_metric("confidence-drop@0.2").compute(view)
    relative = find_metric("relative-drop@0.2").compute(view)
    assert fell == {"confidence-drop@0.2": pytest.approx([0.4, 0.1])}
    assert relative == {"relative-drop@0.2": pytest.approx([0.4 - (0.2 - 0.4), 0.1 - (0.2 - 0.5)])}


def test_deletion_of_a_linear_score_is_its_curve():
    images = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    images[0, 0] = torch.tensor([[1.0, 0.5], [0.25, 0.25]])
    found = measured(left, images, images[:, 0], classes(1), ["deletion@steps=4"])
    curve = [0.5, 0.25, 0.125, 0.0625, 0.0]
    assert found["deletion@steps=4 curve"] == [pytest.approx(curve)]
    assert found["deletion@steps=4 curve of other"] == [pytest.approx([(1 - p) / 2 for p in curve])]
    assert found["deletion@steps=4"] == pytest.approx([0.25 * (0.25 + 0.25 + 0.125 + 0.0625)])
    backwards = measured(left, images, -images[:, 0], classes(1), ["deletion@steps=4"])
    assert backwards["deletion@steps=4"][0] > found["deletion@steps=4"][0]


def test_the_fractions_are_those_of_pixels_really_changed():
    images = torch.rand(1, 3, 3, 1, dtype=torch.float64)
    found = measured(left, images, torch.rand(1, 3, 1, dtype=torch.float64), classes(1), ["deletion@steps=2"])
    # Half of three pixels is one.
    a, b, c = found["deletion@steps=2 curve"][0]
    assert found["deletion@steps=2"] == pytest.approx([(a + b) / 2 / 3 + (b + c) / 2 * 2 / 3])


def test_insertion_ends_with_the_image_and_starts_from_the_blurred_one():
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    saliency = torch.rand(2, 8, 8, dtype=torch.float64)
    zero = torch.zeros_like(images)
    found = measured(left, images, saliency, classes(2), ["insertion@steps=8", "deletion@steps=8"], start=zero)
    back, gone = (
        torch.tensor(found[f"{name}@steps=8 curve"], dtype=torch.float64) for name in ("insertion", "deletion")
    )
    torch.testing.assert_close(back[:, -1], images[:, 0].mean((1, 2)))
    assert back[:, 0].tolist() == [0.0, 0.0]
    torch.testing.assert_close(back + gone, images[:, 0].mean((1, 2))[:, None].expand(2, 9))
    blurred = measured(left, images, saliency, classes(2), ["insertion@steps=8"])["insertion@steps=8 curve"]
    torch.testing.assert_close(
        torch.tensor(blurred, dtype=torch.float64)[:, 0], filling(images, "blur")[:, 0].mean((1, 2))
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("deletion@steps=0", "steps is 0; it must be at least 1"),
        ("insertion@-1", "steps is -1"),
        ("relative-drop@0", "the fraction is 0.0"),
        ("confidence-drop@1.01", "the fraction is 1.01"),
        ("relative-drop@nan", "fraction is 'nan'"),
        ("relative-drop@half", "fraction is 'half'; it must be a number"),
    ],
)
def test_steps_and_fractions_out_of_range_are_refused_when_asked_for(spec, message):
    with pytest.raises(FinercamError, match=rf"{spec}'.*{message}"):
        find_metric(spec)


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

    found = measured(
        net,
        images,
        saliency,
        torch.stack([target, target], 1),
        ["deletion@steps=10", "insertion@steps=10"],
        start=torch.zeros_like(images),
    )
    assert sum(found["deletion@steps=10"]) / 3 == pytest.approx(theirs["deletion_auc"], abs=1e-5)
    assert sum(found["insertion@steps=10"]) / 3 == pytest.approx(theirs["insertion_auc"], abs=1e-5)


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

    fill = torch.full_like(images, 0.4)
    found = measured(net, images, saliency, torch.stack([target, target], 1), ["deletion@steps=12"], fill=fill)
    curve = torch.tensor(found["deletion@steps=12 curve"])
    torch.testing.assert_close(curve[:, 1:], torch.tensor(theirs))
    torch.testing.assert_close(curve[:, 0], net(images).softmax(1)[torch.arange(3), target])
