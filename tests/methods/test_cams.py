"""Every CAM method against the literal formulas of tests/reference.py, in float64."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from torch import Tensor

import finercam
from finercam import METHODS, Classifier, Contrast, FinercamError, Objective, answer, explain, gather
from finercam.contrast.contrast import AGGREGATES, PLAIN, WEIGHTINGS
from finercam.methods.cams import gradcam
from finercam.methods.evidence import NotGathered
from finercam.methods.gradients import gather_gradients, gradient_taps
from finercam.methods.maps import resize, to_saliency
from finercam.methods.masks import gather_masked
from finercam.methods.method import Method, find_method
from support import reference
from support.models import CLASSES, NETS, SIZE, DeepNet, InPlaceNet, Net, PooledNet, build, classifier, photos

GRADIENT = {
    "gradcam": reference.grad_cam,
    "gradcam++": reference.grad_cam_plus_plus,
    "xgradcam": reference.xgrad_cam,
    "hirescam": reference.hires_cam,
    "layercam": reference.layer_cam,
    "eigengradcam": reference.eigen_grad_cam,
}
SCORE = {
    "scorecam": (reference.score_cam, reference.masked_scores),
    "scorecam-consistent": (reference.score_cam_consistent, reference.masked_scores),
    "scorecam-softmax": (reference.score_cam_softmax, reference.masked_scores),
    "ablationcam": (reference.ablation_cam, reference.ablated_scores),
}
#: No CAMs: each has a test file of its own, with its literal reference.
EXPLAINERS = {
    "rise",
    "sharp",
    "integrated-gradients",
    "mask",
    "legrad",
    "gem",
    "smoothgrad",
    "subtraction",
    "occlusion",
    "multiscale",
    "gradient-x-input",
    "lrp",
    "sharpest",
}
AFTER = "mean-after-relu"
#: What a contrast may combine; the rest is refused (test_contrast.py).
COMBINATIONS = [
    (w, a) for w in WEIGHTINGS for a in AGGREGATES if w == "mean" or a == "mean" or (w, a) == ("softmax", AFTER)
]
TARGETS, REFERENCES = [2, 5], [[4, 0, 6], [1, 2, 3]]


def test_every_method_has_a_reference() -> None:
    assert set(METHODS) == {*GRADIENT, *SCORE, *EXPLAINERS}
    assert {name for name, how in METHODS.items() if how.gatherer is gather_gradients} == set(GRADIENT)
    assert {name for name, how in METHODS.items() if how.function is None} == EXPLAINERS


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9, unit: Tensor | None = None) -> None:
    """Compare with the peak (of ``unit``, where the map itself may be empty) as the measure."""
    peak = float((theirs if unit is None else unit).abs().max())
    assert peak > 1e-6
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance * peak


@cache
def looks(net: str) -> tuple[reference.Look, ...]:
    module = classifier(net).module
    assert isinstance(module, Net)
    return tuple(reference.Look(module, image) for image in photos())


@cache
def scores(net: str, table: str) -> tuple[tuple[list[Tensor], Tensor], ...]:
    return tuple(getattr(reference, table)(look) for look in looks(net))


def literal(name: str, net: str, contrast: Contrast, index: int, references: list[int]) -> tuple[Tensor, Tensor]:
    """One image's map by the formulas, and beside it what it is made of before any ReLU."""
    look, c, gamma = looks(net)[index], TARGETS[index], contrast.strength
    shares = [1 / len(references)] * len(references)
    if contrast.weighting != "mean":
        shares = reference.softmax_shares(look.logits, references)
    if name in GRADIENT:
        if contrast.aggregate == "mean":
            objective = {
                "mean": reference.mean_finer(c, references, gamma),
                "softmax": reference.official(c, references, gamma, detach=True),
                "official": reference.official(c, references, gamma),
            }[contrast.weighting]
            return (GRADIENT[name](look.activations, look.gradient(objective)),) * 2
        maps = [GRADIENT[name](look.activations, look.gradient(reference.finer(c, d, gamma))) for d in references]
    else:
        formula, table = SCORE[name]
        evidence = (look.activations, *scores(net, table.__name__)[index])
        if contrast.aggregate == "mean":
            return (formula(*evidence, reference.Scored(c, references, shares, gamma)),) * 2
        maps = [formula(*evidence, reference.Scored(c, [d], [1.0], gamma)) for d in references]
    if contrast.aggregate == "max":
        return torch.stack(maps).amax(0), torch.stack(maps)
    return sum(share * one.clamp(min=0) for share, one in zip(shares, maps, strict=True)), torch.stack(maps)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("name", "weighting", "aggregate"),
    # To differentiate through the weights has a meaning for gradients only; scores have a test of their own below.
    [(name, w, a) for name in (*GRADIENT, *SCORE) for w, a in COMBINATIONS if name in GRADIENT or w != "official"],
)
def test_finer_map_is_the_literal_formula(name: str, net: str, count: int, weighting: str, aggregate: str) -> None:
    references = [row[:count] for row in REFERENCES]
    contrast = Contrast(references, gamma=0.7, weighting=weighting, aggregate=aggregate)
    evidence, (question,) = gather(classifier(net), photos(), [contrast], TARGETS, method=name)
    found = answer(evidence, question)
    for i in range(len(TARGETS)):
        expected, unit = literal(name, net, contrast, i, references[i])
        assert_same(found.maps[i], expected, unit=unit)
        assert_same(found.saliency[i], reference.resized(expected.clamp(min=0), SIZE), unit=unit)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", [*GRADIENT, *SCORE])
def test_gamma_zero_is_the_ordinary_method(name: str, net: str) -> None:
    plain, *zero = gather(
        classifier(net),
        photos(),
        [PLAIN, *(Contrast(REFERENCES, gamma=0, weighting=w, aggregate=a) for w, a in COMBINATIONS)],
        TARGETS,
        method=name,
    )[1]
    evidence, (again,) = gather(classifier(net), photos(), [PLAIN], TARGETS, method=name)
    assert torch.equal(again.rows, plain.rows)
    base = answer(evidence, again)
    for question in zero:
        assert torch.equal(answer(evidence, question).saliency, base.saliency)
    for i, look in enumerate(looks(net)):
        if name in GRADIENT:
            expected = GRADIENT[name](look.activations, look.gradient(lambda y, i=i: y[TARGETS[i]]))
        else:
            formula, table = SCORE[name]
            one = reference.Scored(TARGETS[i], [], [], 0.0)
            expected = formula(look.activations, *scores(net, table.__name__)[i], one)
        assert_same(base.maps[i], expected)


@pytest.mark.parametrize("net", ["deep", "vit"])
def test_mean_before_relu_is_equation_8_of_finished_maps_where_the_method_is_linear(net: str) -> None:
    for name, formula in GRADIENT.items():
        contrast = Contrast(REFERENCES, gamma=0.6)
        evidence, (question,) = gather(classifier(net), photos(), [contrast], TARGETS)
        ours = answer(evidence.by(METHODS[name]), question).maps[0]
        look = looks(net)[0]
        maps = [formula(look.activations, look.gradient(reference.finer(TARGETS[0], d, 0.6))) for d in REFERENCES[0]]
        mean = torch.stack(maps).mean(0)
        if METHODS[name].linear:
            assert_same(ours, mean)
        else:
            assert float((ours - mean).abs().max()) > 1e-3 * float(mean.abs().max())


@pytest.mark.parametrize("name", GRADIENT)
def test_the_linear_flag_is_true(name: str) -> None:
    how = METHODS[name]
    generator = torch.Generator().manual_seed(3)
    a, g, other = (torch.randn(2, 5, 4, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    mixed = how.function(a, 0.7 * g - 1.3 * other)
    of_maps = 0.7 * how.function(a, g) - 1.3 * how.function(a, other)
    difference = float((mixed - of_maps).abs().max() / of_maps.abs().max())
    assert difference < 1e-12 if how.linear else difference > 1e-2


def test_official_weighting_with_scores_uses_the_row_of_coefficients() -> None:
    contrast = Contrast(REFERENCES, gamma=1, weighting="official")
    evidence, (question,) = gather(classifier("deep"), photos(), [contrast], TARGETS, method="scorecam-consistent")
    assert isinstance(evidence, finercam.methods.scores.ScoreEvidence)
    maps = answer(evidence, question).maps
    for i in range(2):
        alpha = [float(row @ question.rows[i, 0]) for row in evidence.table[i] - evidence.baseline[i]]
        assert_same(maps[i], reference._combined(alpha, evidence.activations[i]))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", [*GRADIENT, *SCORE])
def test_a_batch_is_its_single_images(name: str, net: str) -> None:
    images = photos(3)
    contrast = Contrast("similar")
    evidence, (question,) = gather(classifier(net), images, [contrast], method=name)
    batch = answer(evidence, question)
    assert len(set(question.targets.tolist())) > 1
    for i in range(3):
        alone, (one,) = gather(classifier(net), images[i : i + 1], [contrast], method=name)
        assert one.references.tolist() == question.references[i : i + 1].tolist()
        assert_same(batch.maps[i : i + 1], answer(alone, one).maps)
        kept = answer(evidence.of(slice(i, i + 1)), one)
        assert_same(kept.maps, batch.maps[i : i + 1])


class TwoScales(DeepNet):
    """Two target layers of different resolution, the second behind the first."""

    def halves(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.stem(images)
        return maps, self.more(maps)


@pytest.mark.parametrize("name", GRADIENT)
@pytest.mark.parametrize("layers", [["stem", "more"], ["more", "stem"]])
def test_several_layers_are_resized_and_averaged(name: str, layers: list[str]) -> None:
    net = build(TwoScales)
    assert isinstance(net, TwoScales)
    model = Classifier.of(net, layers, image_size=SIZE)
    contrast = Contrast([[4, 0], [1, 3]])
    evidence, (question,) = gather(model, photos(), [contrast], TARGETS)
    found = answer(evidence.by(METHODS[name]), question)
    for i, image in enumerate(photos()):
        objective = reference.mean_finer(TARGETS[i], ([4, 0], [1, 3])[i], 0.6)
        with torch.enable_grad():
            first, second = net.halves(image[None])
            y = net.head(net.norm(second.mean((2, 3))))[0]
            gradients = torch.autograd.grad(objective(y), (first, second))
        maps = [GRADIENT[name](a[0].detach(), g[0]) for a, g in zip((first, second), gradients, strict=True)]
        assert maps[0].shape != maps[1].shape
        small = reference.resized(maps[1], (maps[0].shape[0], maps[0].shape[1]))
        assert_same(found.maps[i], (maps[0] + small) / 2)


def test_score_methods_refuse_several_layers() -> None:
    model = Classifier.of(build(TwoScales), ["stem", "more"], image_size=SIZE)
    for name in ("scorecam", "ablationcam"):
        with pytest.raises(FinercamError, match="one layer and the classifier has 2: stem, more"):
            gather(model, photos(), [PLAIN], method=name)


def test_an_in_place_layer_behind_the_target_changes_nothing() -> None:
    net = build(InPlaceNet)
    assert isinstance(net, InPlaceNet)
    model = Classifier.of(net, "stem", image_size=SIZE)
    look = reference.Look(net, photos()[0])
    for name, formula in GRADIENT.items():
        evidence, (question,) = gather(model, photos(1), [Contrast([0, 1])], 2, method=name)
        expected = formula(look.activations, look.gradient(reference.mean_finer(2, [0, 1], 0.6)))
        assert_same(answer(evidence, question).maps[0], expected)
    for name, (formula, table) in SCORE.items():
        evidence, (question,) = gather(model, photos(1), [Contrast([0, 1])], 2, method=name)
        expected = formula(look.activations, *table(look), reference.Scored(2, [0, 1], [0.5, 0.5], 0.6))
        assert_same(answer(evidence, question).maps[0], expected)


def test_an_empty_map_is_reported_and_never_stretched() -> None:
    net = build(PooledNet)
    assert isinstance(net, PooledNet)
    with torch.no_grad():
        net.head.weight.copy_(-net.head.weight.abs())
    model = Classifier.of(net, "stem", image_size=SIZE)
    found = explain(model, photos()[0], 3, gamma=0)
    assert found.empty
    assert float(found.saliency.abs().max()) == 0
    assert float(found.map.min()) < 0
    assert float(found.map.max()) <= 0
    shown = explain(model, photos()[0], 3, gamma=5)
    assert not shown.empty
    assert float(shown.saliency.max()) != 1
    assert "empty" in repr(found)
    assert "empty" not in repr(shown)


def test_guards_against_denominators_of_zero() -> None:
    a = torch.randn(1, 4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    g = torch.randn(1, 4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    a[0, 0] = 0  # a dead channel
    a[0, 1] = torch.tensor([[1.0, -1], [2, -2], [3, -3]])  # one that sums to zero
    g[0, 2] = 0  # one without gradient
    a[0, 3] = torch.tensor([[-0.25, -0.25], [-0.25, -0.25], [0, 0]])
    g[0, 3] = 2.0  # 2 G^2 + sum(A) G^3 = 0
    for name in ("gradcam++", "xgradcam"):
        assert_same(METHODS[name].function(a, g)[0], GRADIENT[name](a[0], g[0]))
    for name in GRADIENT:
        nothing = METHODS[name].function(torch.zeros_like(a), g), METHODS[name].function(a, torch.zeros_like(g))
        assert all(torch.equal(one, torch.zeros(1, 3, 2, dtype=torch.float64)) for one in nothing)


def test_xgradcam_leaves_out_a_channel_whose_sum_is_rounding() -> None:
    a = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64).reshape(1, 1, 1, 3)
    assert float(a.sum()) != 0
    assert float(METHODS["xgradcam"].function(a, torch.ones_like(a)).abs().max()) == 0


def test_saliency_is_cut_before_it_is_resized() -> None:
    signed = torch.tensor([[[1.0, -5.0]]])
    expected = resize(torch.tensor([[[[1.0, 0.0]]]]), (2, 8))[:, 0]
    assert torch.equal(to_saliency(signed, (2, 8)), expected)


@pytest.fixture
def registry():
    with METHODS.restored():
        yield METHODS


@pytest.mark.usefixtures("registry")
def test_a_method_of_ones_own() -> None:
    @finercam.method("Grad-Norm")
    def gradnorm(activations, gradients):
        return (activations * gradients).norm(dim=1)

    found = explain(classifier("deep"), photos()[0], 2, against=[0, 1], method="Grad-Norm")
    look = looks("deep")[0]
    product = look.activations * look.gradient(reference.mean_finer(2, [0, 1], 0.6))
    assert_same(found.map, product.pow(2).sum(0).sqrt())
    assert found.method.title == "Grad-Norm"

    @finercam.method("best-mask", gather=gather_masked)
    def best(activations, table, baseline, v):
        gain = torch.einsum("bkc,bc->bk", table - baseline[:, None], v)
        return activations[torch.arange(len(v)), gain.argmax(1)]

    found = explain(classifier("deep"), photos()[0], 2, against=[0, 1], method="best-mask")
    masked, baseline = scores("deep", "masked_scores")[0]
    asked = reference.Scored(2, [0, 1], [0.5, 0.5], 0.6)
    gains = [asked(y) - asked(baseline) for y in masked]
    assert_same(found.map, look.activations[gains.index(max(gains))])


@pytest.mark.parametrize("name", ["eigencam", "Eigen-CAM", "EIGEN_CAM"])
def test_a_method_that_ignores_the_class_is_refused(name: str) -> None:
    with pytest.raises(FinercamError, match=r"ignores the class.*'eigengradcam'"):
        explain(classifier("deep"), photos()[0], method=name)


def test_methods_are_found_by_their_usual_spellings() -> None:
    for name in ("gradcam", "Grad-CAM", "GRAD_CAM"):
        assert find_method(name) is METHODS["gradcam"]
    assert find_method("Grad-CAM++") is METHODS["gradcam++"]
    assert find_method("Score-CAM-softmax") is METHODS["scorecam-softmax"]
    with pytest.raises(FinercamError, match=r"no method 'grdcam'; did you mean .*'gradcam'"):
        find_method("grdcam")


@pytest.mark.usefixtures("registry")
def test_a_name_is_given_once() -> None:
    for taken in ("gradcam", "Grad-CAM", "RISE"):
        for register in (finercam.method, finercam.explainer):
            with pytest.raises(FinercamError, match=r"there is a method '(gradcam|rise)' already"):
                register(taken)(lambda a, g: a.sum(1))
    assert METHODS["gradcam"].function is gradcam


def test_a_method_needs_its_own_kind_of_evidence() -> None:
    evidence, _ = gather(classifier("deep"), photos(), [PLAIN])
    with pytest.raises(NotGathered, match=r"Score-CAM gathers other evidence than Grad-CAM, which was kept; explain"):
        evidence.by(METHODS["scorecam"])
    evidence, _ = gather(classifier("deep"), photos(), [PLAIN], method="scorecam")
    for other in ("gradcam", "ablationcam"):
        with pytest.raises(NotGathered, match=f"gathers other evidence than Score-CAM.*method='{other}'"):
            evidence.by(METHODS[other])


@pytest.mark.parametrize("name", [*GRADIENT, *SCORE])
def test_a_cam_takes_no_parameters(name: str) -> None:
    with pytest.raises(FinercamError, match=re.escape(f"'{name}@3': {name} takes no parameter")):
        find_method(f"{name}@3")


def test_an_unregistered_method_can_be_handed_over() -> None:
    how = Method("mine", "Mine", gather_gradients, lambda a, g: -(a * g).sum(1), taps=gradient_taps)
    evidence, (question,) = gather(classifier("deep"), photos(), [Contrast([0])], TARGETS, method=how)
    assert_same(answer(evidence, question).maps, -answer(evidence.by(METHODS["hirescam"]), question).maps)


def test_an_objective_is_answered_like_any_contrast() -> None:
    def entropy(y: Tensor) -> Tensor:
        return -(y.softmax(-1) * y.log_softmax(-1)).sum(-1)

    for net in NETS:
        for name, formula in GRADIENT.items():
            evidence, (question,) = gather(classifier(net), photos(), [Objective(entropy)], method=name)
            look = looks(net)[0]
            assert_same(answer(evidence, question).maps[0], formula(look.activations, look.gradient(entropy)))


def test_reverse_is_minus_finer_at_gamma_one() -> None:
    forth, back = Contrast([0, 1], gamma=1), Contrast([0, 1], gamma=1, reverse=True)
    for name in ("gradcam", "hirescam", "xgradcam"):
        evidence, (one, other) = gather(classifier("deep"), photos(), [forth, back], 2, method=name)
        assert_same(answer(evidence, one).maps, -answer(evidence, other).maps)


def test_closed_form_is_the_vector_jacobian_product() -> None:
    model = classifier("pooled")
    assert model.pooled
    assert not classifier("deep").pooled
    assert not classifier("vit").pooled
    evidence, (question,) = gather(model, photos(), [Contrast(REFERENCES)], TARGETS)
    assert isinstance(evidence, finercam.methods.gradients.GradientEvidence)
    assert evidence.head is not None
    for i, look in enumerate(looks("pooled")):
        gradient = look.gradient(reference.mean_finer(TARGETS[i], REFERENCES[i], 0.6))
        assert_same(evidence.gradient(question.rows)[0][i, 0], gradient, 1e-12)
    assert evidence.logits.shape == (2, CLASSES)
