"""Gradient x input, SmoothGrad, integrated gradients and occlusion: the papers' formulas, captum's, their promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from finercam import PLAIN, Classifier, Contrast, Run, answer, gather
from finercam.methods.occlusion import OcclusionEvidence, window_starts
from finercam.methods.pixels import blurred, box_smoothed
from support import literal_explainers as literal
from support.models import CLASSES, NETS, SIZE, DeepNet, Probed, build, classifier, photos

captum = pytest.importorskip("captum.attr")

CONTRAST = Contrast([[4, 0, 6], [1, 2, 3]], gamma=0.7)
TARGETS = [2, 5]
by_net = pytest.mark.parametrize("name", NETS)


def asked(name: str, spec: str) -> tuple[Tensor, Tensor]:
    """The maps of ``CONTRAST`` and its rows, b C."""
    evidence, (question,) = gather(classifier(name), photos(), [CONTRAST], TARGETS, method=spec)
    return answer(evidence, question).maps, question.rows[:, 0]


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    assert ours.shape == theirs.shape
    peak = float(theirs.abs().max())
    assert peak > 0
    assert float((ours - theirs).abs().max()) <= tolerance * peak


# --- literally ---------------------------------------------------------------------------------------------------

#: A share of the larger side of 16 pixels, and the reach of the box it makes.
SMOOTH = [("0", 0), ("0.12", 1), ("0.13", 1), ("0.3", 2)]


@pytest.mark.parametrize(("smooth", "reach"), SMOOTH)
@by_net
def test_gradient_x_input(name: str, smooth: str, reach: int) -> None:
    found, rows = asked(name, f"gradient-x-input@smooth={smooth}")
    net = classifier(name).module
    for i, image in enumerate(photos()):
        assert_same(found[i], literal.smoothed(literal.gradient_x_input(net, image, rows[i]), reach))


@by_net
def test_smoothgrad(name: str) -> None:
    found, rows = asked(name, "smoothgrad@copies=3@noise=0.2@seed=5@smooth=0.12")
    net, generator = classifier(name).module, torch.Generator().manual_seed(5)
    noises = [torch.randn(3, *SIZE, generator=generator).double() for _ in range(3)]
    for i, image in enumerate(photos()):
        expected = literal.smooth_gradient_x_input(net, image, rows[i], 0.2, noises)
        assert_same(found[i], literal.smoothed(expected, 1))


def test_smoothgrad_without_noise_is_gradient_x_input_and_a_seed_is_its_noise() -> None:
    still, _ = asked("deep", "smoothgrad@copies=2@noise=0")
    plain, _ = asked("deep", "gradient-x-input")
    assert_same(still, plain)
    first, again, other = (asked("deep", f"smoothgrad@copies=2@seed={seed}")[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert float((first - other).abs().max()) > 1e-3 * float(first.abs().max())


@pytest.mark.parametrize("baseline", ["mean", "blur", "both"])
@by_net
def test_integrated_gradients(name: str, baseline: str) -> None:
    found, rows = asked(name, f"integrated-gradients@steps=3@baseline={baseline}@smooth=0.12")
    net = classifier(name).module
    for i, image in enumerate(photos()):
        # A seventh of 16 pixels, rounded to an odd number: 3.
        starts = {"mean": torch.zeros_like(image), "blur": literal.blurred(image, 1)}
        chosen = starts.values() if baseline == "both" else [starts[baseline]]
        maps = [literal.integrated_gradients(net, image, rows[i], start, 3) for start in chosen]
        assert_same(found[i], literal.smoothed(sum(maps) / len(maps), 1))


@pytest.mark.parametrize(("size", "stride"), [(0.25, 0.25), (0.5, 0.2), (0.3, 0.3), (1, 1), (0.05, 0.05)])
@pytest.mark.parametrize("fill", ["mean", "blur"])
@by_net
def test_occlusion(name: str, fill: str, size: float, stride: float) -> None:
    found, rows = asked(name, f"occlusion@size={size}@stride={stride}@fill={fill}")
    net = classifier(name).module
    side = tuple(max(round(size * length), 1) for length in SIZE)
    starts = [window_starts(length, own, stride * length).tolist() for length, own in zip(SIZE, side, strict=True)]
    for i, image in enumerate(photos()):
        cover = torch.zeros_like(image) if fill == "mean" else literal.blurred(image, 1)
        assert_same(found[i], literal.occlusion(net, image, rows[i], cover, side, *starts))


@pytest.mark.parametrize(
    ("length", "side", "stride", "expected"),
    [
        (16, 4, 4, [0, 4, 8, 12]),
        (16, 4, 8, [0, 6, 12]),
        (16, 5, 4, [0, 4, 7, 11]),
        (16, 16, 2, [0]),
        (7, 1, 0.2, [0, 1, 2, 3, 4, 5, 6]),
        (224, 28, 14, list(range(0, 197, 14))),
    ],
)
def test_windows_are_spread_evenly_from_border_to_border(
    length: int, side: int, stride: float, expected: list[int]
) -> None:
    assert window_starts(length, side, stride).tolist() == expected


# --- captum ------------------------------------------------------------------------------------------------------


def scored(name: str, rows: Tensor) -> nn.Module:
    """The contrasts' values, for captum to attribute: one for each image."""

    class Scored(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            each = rows.repeat(len(images) // len(rows), 1)
            return (classifier(name).module(images) * each).sum(1)

    return Scored()


@by_net
def test_captum_gradient_x_input(name: str) -> None:
    found, rows = asked(name, "gradient-x-input@smooth=0")
    theirs = captum.InputXGradient(scored(name, rows)).attribute(photos().requires_grad_())
    assert_same(found, theirs.sum(1).detach())


@pytest.mark.parametrize("steps", [2, 8])
@by_net
def test_captum_integrated_gradients(name: str, steps: int) -> None:
    """Their ``riemann_middle`` is our rule. (They go through an image's steps one after the other.)"""
    found, rows = asked(name, f"integrated-gradients@steps={steps}@baseline=mean@smooth=0")
    for i, image in enumerate(photos()):
        explainer = captum.IntegratedGradients(scored(name, rows[i : i + 1]))
        theirs = explainer.attribute(image[None], n_steps=steps, method="riemann_middle")
        assert_same(found[i], theirs[0].sum(0).detach())


@by_net
def test_captum_occlusion(name: str) -> None:
    """Theirs too is the mean over the windows on a pixel (in float32); where they fit evenly they lie alike."""
    found, rows = asked(name, "occlusion@size=0.5@stride=0.25@fill=mean")
    for i, image in enumerate(photos()):
        explainer = captum.Occlusion(scored(name, rows[i : i + 1]))
        theirs = explainer.attribute(image[None], sliding_window_shapes=(3, 6, 8), strides=(3, 3, 4), baselines=0)
        assert_same(found[i], theirs[0, 0].double(), 1e-6)


# --- what they promise -------------------------------------------------------------------------------------------


@by_net
def test_integrated_gradients_are_complete(name: str) -> None:
    """The unsmoothed map's sum approaches D(x) - D(x0) with the number of steps."""
    net = classifier(name).module
    with torch.no_grad():
        blur = blurred(photos())
        ends = {"mean": net(torch.zeros_like(photos())), "blur": net(blur)}
        ends["both"] = (ends["mean"] + ends["blur"]) / 2
        for baseline, end in ends.items():
            errors = []
            for steps in (1, 64):
                found, rows = asked(name, f"integrated-gradients@steps={steps}@baseline={baseline}@smooth=0")
                gain = ((net(photos()) - end) * rows).sum(1)
                errors.append(float(((found.sum((1, 2)) - gain) / gain.abs().max()).abs().max()))
            assert errors[1] < 0.05
            assert errors[1] < 0.2 * errors[0]


def test_smoothing_keeps_the_sum_but_at_the_border() -> None:
    maps = torch.zeros(1, 1, 20, 30, dtype=torch.float64)
    maps[0, 0, 8:12, 10:20] = torch.randn(4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.isclose(box_smoothed(maps, 0.1).sum(), maps.sum(), rtol=1e-9)
    assert torch.equal(box_smoothed(maps, 0.03), maps)


def test_a_window_over_all_is_the_fall_to_the_fill() -> None:
    found, rows = asked("deep", "occlusion@size=1@stride=1@fill=mean")
    net = classifier("deep").module
    with torch.no_grad():
        fall = ((net(photos()) - net(torch.zeros_like(photos()))) * rows).sum(1)
    assert_same(found, fall[:, None, None].expand(-1, *SIZE))


@by_net
def test_occlusion_answers_every_class_from_one_table(name: str) -> None:
    evidence, _ = gather(classifier(name), photos(), [PLAIN], 0, method="occlusion@size=0.5@stride=0.5")
    assert isinstance(evidence, OcclusionEvidence)
    rows = torch.eye(CLASSES, dtype=torch.float64).expand(2, -1, -1)
    other, _ = gather(classifier(name), photos(), [PLAIN], 5, method="occlusion@size=0.5@stride=0.5")
    assert_same(evidence.maps(rows), other.maps(rows))
    assert evidence.table.shape == (2, 2, 2, CLASSES)


def test_how_often_the_model_is_run() -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    runs = {
        "gradient-x-input": [3],
        "smoothgrad@copies=4": [3] * 5,
        "integrated-gradients@steps=4@baseline=blur": [3] * 5,
        "integrated-gradients@steps=4": [3] * 9,
        # 3 x 3 windows on each of 3 images, 10 copies at once.
        "occlusion@size=0.5@stride=0.25": [3, 10, 10, 7],
    }
    for spec, batches in runs.items():
        net.batches.clear()
        gather(model, photos(3), [CONTRAST.changed(against=[4, 0])], 2, method=spec, run=Run(copies=10))
        assert net.batches == batches, spec
