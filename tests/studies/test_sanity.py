"""The sanity checks over a classifier, against explanations of networks made random by hand."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import nn

import finercam
from finercam import METHODS, PLAIN, Classifier, Contrast, FinercamError, Objective, gather, saliency
from finercam.studies.randomising import randomised
from finercam.studies.sanity import RandomisedRow, class_sensitivity, randomisation, running_order, summarise
from support.models import NETS, SIZE, PooledNet, build, classifier, photos

IMAGES = photos(5)


def by_hand(model, module, images, contrast, targets, method):
    """Answers of a classifier of the random module, made anew, with the references named that the intact one chose."""
    kind = NETS[model]
    other = Classifier.of(module, kind.layer, grid=classifier(model).grids[0], image_size=SIZE)
    evidence, (question,) = gather(other, images, [contrast], targets, method=method)
    return finercam.answer(evidence, question, method)


def likeness(first, second):
    a, b = first.flatten().numpy(), second.flatten().numpy()
    if a.max() == a.min() or b.max() == b.min():
        return math.nan, math.nan
    return spearmanr(a, b).statistic, pearsonr(a, b).statistic


@pytest.mark.parametrize(
    ("model", "method"),
    [("pooled", "gradcam"), ("deep", "gradcam"), ("vit", "layercam"), ("deep", "gradcam++"), ("deep", "scorecam")],
)
@pytest.mark.parametrize("order", ["top-down", "independent"])
def test_rows_compare_the_intact_network_with_the_random_one(model, method, order):
    whole = classifier(model)
    rows = randomisation(whole, IMAGES, method=method, order=order, batch_size=2, seed=1)
    _, (question,) = gather(whole, IMAGES, [Contrast()])
    named = Contrast(against=question.references.tolist())
    targets = question.targets
    intact = by_hand(model, whole.module, IMAGES, named, targets, method)
    names = running_order(whole)
    assert [row.layer for row in rows] == [name or "(itself)" for name in names[::-1] for _ in IMAGES]
    for layer, module in randomised(whole.module, names, order=order, seed=1):
        found = by_hand(model, module, IMAGES, named, targets, method)
        own = [row for row in rows if row.layer == (layer or "(itself)")]
        assert [row.index for row in own] == list(range(5))
        for i, row in enumerate(own):
            # Pixels whose values differ by rounding only may tie or not.
            expected = likeness(intact.saliency[i], found.saliency[i])
            assert (row.ranks, row.values) == pytest.approx(expected, abs=1e-3, nan_ok=True)
            assert row.signed == pytest.approx(likeness(intact.maps[i], found.maps[i])[0], abs=1e-3)
            assert row.empty == (float(found.saliency[i].max()) <= 0)
    assert min(row.signed for row in rows) < 0.9


def test_the_question_stays_that_of_the_intact_network():
    # A random last layer names other classes: with the target left open, the question would change with it.
    whole = classifier("deep")
    _, (question,) = gather(whole, IMAGES, [PLAIN])
    named = randomisation(whole, IMAGES, PLAIN, targets=question.targets)
    assert repr(named) == repr(randomisation(whole, IMAGES, PLAIN))
    for _, module in randomised(whole.module, ["head"]):
        assert not torch.equal(module(IMAGES).argmax(1), question.targets)


def test_a_map_that_ignores_what_was_learned_above_its_layer_fails(monkeypatch):
    # The mean activation: whatever the class, and whatever the layers behind.
    method = replace(METHODS["gradcam"], name="mean", title="Mean", function=lambda a, g: a.mean(1), linear=False)
    monkeypatch.setitem(METHODS, "mean", method)
    rows = randomisation(classifier("deep"), IMAGES, method="mean", order="top-down")
    above = {"head", "norm", "more.0"}
    alike = {row.layer: [] for row in rows}
    for row in rows:
        alike[row.layer].append(row.signed)
    assert all(alike[layer] == pytest.approx([1.0] * 5) for layer in above)
    assert not any(alike["stem.0"] == pytest.approx([1.0] * 5) for _ in above)
    for row in class_sensitivity(classifier("deep"), IMAGES, method="mean"):
        assert row.signed == pytest.approx(1.0)


def test_batches_do_not_change_the_rows_with_noise_or_without():
    for samples in (0, 3):
        runs = [
            randomisation(
                classifier("deep"),
                IMAGES,
                Contrast(against=[[6], [5], [6], [5], [6]]),
                targets=[0, 1, 2, 3, 4],
                layers=["stem", "head"],
                samples=samples,
                batch_size=size,
            )
            for size in (1, 2, 16)
        ]
        assert len(runs[0]) == 10
        for other in runs[1:]:
            for a, b in zip(runs[0], other, strict=True):
                assert (a.layer, a.index, a.empty) == (b.layer, b.index, b.empty)
                assert (a.ranks, a.values, a.signed) == pytest.approx((b.ranks, b.values, b.signed), nan_ok=True)


def test_maps_are_the_mean_over_noisy_copies(monkeypatch):
    whole = classifier("deep")
    seen = []

    def function(activations, gradients):
        seen.append(activations.mean(1))
        return seen[-1]

    method = replace(METHODS["gradcam"], name="noted", title="Noted", function=function, linear=False)
    monkeypatch.setitem(METHODS, "noted", method)
    rows = randomisation(whole, IMAGES, method="noted", layers=["stem"], samples=2, noise=0.3)
    intact, found = torch.stack(seen[:2]).mean(0), torch.stack(seen[2:]).mean(0)
    expected = [spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(intact, found, strict=True)]
    assert [row.signed for row in rows] == pytest.approx(expected)
    assert float((seen[0] - seen[1]).std()) > 0.1
    columns = [
        [row.signed for row in randomisation(whole, IMAGES, layers=["stem"], samples=samples, noise=noise)]
        for samples, noise in ((0, 0.1), (2, 0.0), (2, 0.3))
    ]
    assert columns[0] == pytest.approx(columns[1])
    assert columns[0] != pytest.approx(columns[2], abs=1e-3)
    with pytest.raises(FinercamError, match="samples is -1"):
        randomisation(whole, IMAGES, samples=-1)
    for check in (randomisation, class_sensitivity):
        with pytest.raises(FinercamError, match="5 images in batches of 0"):
            check(whole, IMAGES, batch_size=0)
        with pytest.raises(FinercamError, match="0 images"):
            check(whole, IMAGES[:0])


def test_the_classifier_stays_as_it_was():
    model = Classifier.of(build(PooledNet), PooledNet.layer, image_size=SIZE)
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    generator, head = torch.get_rng_state(), model.head
    done = []
    rows = randomisation(model, IMAGES, Objective(lambda y: y[:, 0] - y[:, 1]), redraw="reset", advance=done.append)
    assert len(rows) == 25
    assert done == [1] * 5
    assert model.pooled
    assert model.head is head
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
    assert not any(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules())


def test_layers_are_gone_through_as_they_run_and_not_as_they_were_made():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.head = nn.Linear(5, 4)
            self.attend = nn.MultiheadAttention(5, 1, batch_first=True)
            self.stem = nn.Conv2d(3, 5, 3)

        def forward(self, images):
            tokens = (self.scale * self.stem(images)).flatten(2).mT
            return self.head(self.attend(tokens, tokens, tokens)[0].mean(1))

    model = Classifier.of(Backwards(), "stem", image_size=SIZE)
    assert running_order(model) == ["", "stem", "attend", "attend.out_proj", "head"]
    assert running_order(classifier("vit"))[:2] == ["", "patch"]


def test_likeness_of_two_classes_maps():
    whole = classifier("deep")
    logits = whole.module(IMAGES).detach()
    top = logits.argmax(1)
    rows = class_sensitivity(whole, IMAGES, batch_size=2)
    second = logits.scatter(1, top[:, None], -torch.inf).argmax(1)
    assert [(row.target, row.other) for row in rows] == list(zip(top.tolist(), second.tolist(), strict=True))
    maps = [saliency(whole, IMAGES, each, PLAIN) for each in (top, second)]
    for row, a, b in zip(rows, *maps, strict=True):
        assert (row.ranks, row.values) == pytest.approx(likeness(a, b), nan_ok=True)
        assert row.empty == (min(float(a.max()), float(b.max())) <= 0)
    assert [row.index for row in rows] == list(range(5))


@pytest.mark.parametrize("method", ["gradcam", "scorecam"])
def test_a_class_is_like_itself_and_held_against_another_the_opposite_of_that_one(method):
    whole = classifier("deep")
    same = class_sensitivity(whole, IMAGES, targets=3, others=[3] * 5, method=method)
    assert [row.signed for row in same] == pytest.approx([1.0] * 5)
    opposite = class_sensitivity(
        whole, IMAGES, Contrast(against=[1, 2], gamma=1.0), targets=1, others=2, batch_size=2, method="gradcam"
    )
    assert [row.signed for row in opposite] == pytest.approx([-1.0] * 5)


def test_a_summary_is_the_mean_over_images_where_there_is_one():
    row = RandomisedRow("fc", 0, 0.2, 0.4, -0.5, False)
    rows = [row, replace(row, index=1, ranks=math.nan, values=math.nan, signed=0.1, empty=True)]
    rows += [replace(row, layer="conv")]
    fc, conv = summarise(rows)
    assert (fc.layer, fc.ranks.mean, fc.ranks.n, fc.values.mean, fc.empty) == ("fc", 0.2, 1, 0.4, 0.5)
    assert (fc.signed.mean, fc.signed.n) == (pytest.approx(-0.2), 2)
    assert (conv.layer, conv.empty) == ("conv", 0)
