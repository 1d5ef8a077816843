"""What all explainers of several layers, pixels or windows promise, whatever they compute."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from finercam import (
    METHODS,
    PLAIN,
    Classifier,
    Contrast,
    Explanation,
    FinercamError,
    Objective,
    Run,
    answer,
    explain,
    gather,
    saliency,
)
from finercam.methods.evidence import NotCollected
from finercam.methods.method import find_method
from support.models import CLASSES, NETS, SIZE, DeepNet, Net, PooledNet, Probed, TinyViT, build, classifier, photos
from support.states import disturbing_net, untouched

#: As cheap as they can be and still show something.
SPECS = {
    "gradient-x-input": "gradient-x-input",
    "smoothgrad": "smoothgrad@copies=3",
    "integrated-gradients": "integrated-gradients@steps=2",
    "occlusion": "occlusion@size=0.5@stride=0.25",
    "multiscale": "multiscale@sizes=1+2",
    "subtraction": "subtraction",
    "sharp": "sharp",
    "sharpest": "sharpest@copies=2@steps=2",
    "lrp": "lrp",
}
#: Whose map is linear in the row.
LINEAR = ("gradient-x-input", "smoothgrad", "integrated-gradients", "occlusion", "lrp")
#: Which run the model again, or a copy of it.
SEVERAL = ("smoothgrad", "integrated-gradients", "occlusion", "multiscale", "sharpest")
CONTRAST = Contrast([[4, 0, 6], [1, 2, 3]], gamma=0.7)
TARGETS = [2, 5]


def can(name: str, kind: type[Net]) -> bool:
    """Whether the method answers for such a net: no rules for norms and attention, no size but its own."""
    if name == "lrp":
        return kind is PooledNet and importlib.util.find_spec("zennit") is not None
    return not (name == "multiscale" and kind is TinyViT)


def model_of(
    kind: type[Net], net: nn.Module | None = None, prefix: str = "", dtype: torch.dtype = torch.float64
) -> Classifier:
    """The net, looked at where an earlier layer is finer."""
    layer = "more" if kind is DeepNet else kind.layer
    return Classifier.of(net or build(kind, dtype=dtype), prefix + layer, image_size=SIZE)


every = pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in SPECS for kind in NETS.values() if can(name, kind)]
)


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    assert ours.shape == theirs.shape
    peak = float(theirs.abs().max())
    assert peak > 0
    assert float((ours - theirs).abs().max()) <= tolerance * peak


def maps_of(model: Classifier, images: Tensor, spec: str, contrast: Contrast = CONTRAST) -> Tensor:
    evidence, (question,) = gather(model, images, [contrast], TARGETS[: len(images)], method=spec)
    return answer(evidence, question).maps


def test_all_of_them_are_here() -> None:
    others = {name for name, how in METHODS.items() if how.function is None} - {"rise"}
    assert others >= set(SPECS)
    for name in SPECS:
        assert METHODS[name].source or name in ("sharp", "sharpest")


@every
def test_a_batch_is_its_single_images(name: str, kind: type[Net]) -> None:
    model, spec = model_of(kind), SPECS[name]
    evidence, (question,) = gather(model, photos(), [CONTRAST], TARGETS, method=spec)
    found = answer(evidence, question)
    assert found.saliency.shape == (2, *SIZE)
    for i in range(2):
        contrast = Contrast(CONTRAST.against[i], gamma=0.7)
        alone, (one,) = gather(model, photos()[i : i + 1], [contrast], TARGETS[i], method=spec)
        assert_same(answer(alone, one).maps[0], found.maps[i])
        assert_same(answer(evidence.of(slice(i, i + 1)), one).maps[0], found.maps[i])
    turned = evidence.of(torch.tensor([1, 0])).maps(question.rows[[1, 0]])
    assert_same(turned[:, 0], found.maps[[1, 0]])


@every
def test_what_is_linear_in_the_row_is(name: str, kind: type[Net]) -> None:
    one, other = torch.zeros(2, 1, CLASSES, dtype=torch.float64), torch.zeros(2, 1, CLASSES, dtype=torch.float64)
    one[:, :, 3], other[:, :, 0] = 1, -0.7
    model, how = model_of(kind), find_method(SPECS[name])
    if how.spans:
        evidence, _ = gather(model, photos(), [CONTRAST], TARGETS, method=how, collect=[0, 3])
    else:
        with model.look(photos(), at=how.taps(model)) as look:
            evidence = how.gather(look, torch.cat([one, other, one + other, 2 * (one + other)], 1))
    apart, together = evidence.maps(one) + evidence.maps(other), evidence.maps(one + other)
    if name in LINEAR:
        assert_same(together, apart, 1e-9)
    else:
        assert float((together - apart).abs().max()) > 0.01 * float(together.abs().max())
    # Twice the question is twice the map, for all.
    assert_same(evidence.maps(2 * (one + other)), 2 * together, 1e-9)


@every
def test_kept_classes_answer_other_questions_as_a_fresh_look_would_without_the_model(
    name: str, kind: type[Net]
) -> None:
    if not find_method(name).spans:
        pytest.skip("it answers what was asked only")
    net = Probed(build(kind))
    model = model_of(kind, net, "inner.")
    kept = explain(model, photos()[0], 0, against=[1, 2], method=SPECS[name], collect=[3, 5], keep=True)
    fresh = explain(model, photos()[0], 3, against=[5, 0], gamma=1, method=SPECS[name])
    net.batches.clear()
    assert_same(kept.again(target=3, against=[5, 0], gamma=1).map, fresh.map, 1e-9)
    assert net.batches == []
    if name == "occlusion":
        assert kept.evidence.classes() is None
        return
    assert set(kept.evidence.classes()) == {0, 1, 2, 3, 5}
    with pytest.raises(NotCollected, match="class 6"):
        kept.again(target=6)
    assert net.batches == []


@every
def test_an_objective_is_a_row_too(name: str, kind: type[Net]) -> None:
    """Its coefficients are all different from zero; a contrast's own value has the contrast's map."""
    model = model_of(kind)
    value = Objective(lambda y: y[:, 2] - 0.35 * (y[:, 4] + y[:, 0]) + 1e-12 * y.sum(1), "by hand")
    evidence, (question,) = gather(model, photos(), [value], 2, method=SPECS[name])
    other, (asked,) = gather(model, photos(), [Contrast([4, 0], gamma=0.7)], 2, method=SPECS[name])
    assert_same(answer(evidence, question).maps, answer(other, asked).maps, 1e-6)


@every
def test_the_model_is_untouched_also_when_it_raises(name: str, kind: type[Net]) -> None:
    if name == "lrp":
        pytest.skip("there is no rule for what the net's user adds to its output: see test_lrp.py")
    net, how = disturbing_net(kind), find_method(SPECS[name])
    model = model_of(kind, net)
    with untouched(net):
        saliency(model, photos(), method=SPECS[name])
        explain(model, photos(), method=SPECS[name], keep=True)[0].again(gamma=0.1, collect=not how.spans)
    probed = Probed(build(kind).train())
    model = model_of(kind, probed, "inner.")
    with untouched(probed), pytest.raises((RuntimeError, FinercamError)):  # noqa: PT012, SIM117 - it breaks late
        with model.look(photos(), at=how.taps(model)) as look:
            rows = CONTRAST.ask(look.logits, TARGETS).rows
            if name in SEVERAL:
                probed.fails = True
            how.gather(look, rows)
            raise RuntimeError("later")


@every
def test_the_callers_modes_make_no_difference(name: str, kind: type[Net]) -> None:
    model = model_of(kind)
    expected = maps_of(model, photos(), SPECS[name])
    with torch.inference_mode():
        assert_same(maps_of(model, photos(), SPECS[name]), expected)
    with torch.no_grad():
        assert_same(maps_of(model, photos(), SPECS[name]), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(maps_of(model, photos(), SPECS[name]), expected)


@every
def test_models_frozen_or_made_in_inference_mode(name: str, kind: type[Net]) -> None:
    expected = maps_of(model_of(kind), photos(), SPECS[name])
    with torch.inference_mode():
        made = build(kind)
    assert_same(maps_of(model_of(kind, made), photos(), SPECS[name]), expected)
    assert_same(maps_of(model_of(kind, build(kind).requires_grad_(False)), photos(), SPECS[name]), expected)


@every
def test_half_precision_stays_near(name: str, kind: type[Net]) -> None:
    model = model_of(kind, dtype=torch.float32)
    images = photos(dtype=torch.float32)
    expected = maps_of(model, images, SPECS[name])
    evidence, (question,) = gather(
        model, images, [CONTRAST], TARGETS, method=SPECS[name], run=Run(precision="bfloat16")
    )
    found = answer(evidence, question).maps
    assert found.dtype == torch.float32
    together = torch.stack([found.flatten(), expected.flatten()])
    assert float(torch.corrcoef(together)[0, 1]) > 0.95
    assert math.isclose(float(found.abs().max()), float(expected.abs().max()), rel_tol=0.2)


@pytest.mark.parametrize("name", SPECS)
def test_saved_and_asked_again(name: str, tmp_path: Path) -> None:
    if not can(name, PooledNet):
        pytest.skip("needs zennit")
    model = model_of(PooledNet, dtype=torch.float32)
    found = explain(model, photos(dtype=torch.float32)[0], 0, against=[1], method=SPECS[name], keep=True)
    loaded = Explanation.load(found.save(tmp_path / "kept.safetensors"))
    assert loaded.method.spec == found.method.spec
    changes = {"gamma": 0.2} if loaded.method.spans else {}
    assert_same(loaded.again(**changes).map, found.again(**changes).map, 1e-6)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (
            "gradient-x-input@smooth=0.6",
            "gradient-x-input: smooth is 0.6; give a number from 0.0 to 0.5 of the",
        ),
        ("gradient-x-input@smooth=-1", "smooth is -1.0"),
        ("gradient-x-input@smooth=nan", "smooth is 'nan'; it must be a finite number"),
        ("smoothgrad@copies=0", "smoothgrad: copies is 0; give a whole number from 1 to 10000"),
        ("smoothgrad@noise=-0.1", "noise is -0.1"),
        ("smoothgrad@noise=inf", "noise is 'inf'; it must be a finite number"),
        ("smoothgrad@seed=-1", "seed is -1"),
        ("smoothgrad@copies=2.5", "copies is '2.5'; it must be a whole number"),
        ("integrated-gradients@steps=0", "integrated-gradients: steps is 0"),
        ("integrated-gradients@steps=100000", "steps is 100000"),
        ("integrated-gradients@baseline=black", "baseline is 'black'"),
        ("integrated-gradients@smooth=1", "smooth is 1.0"),
        ("occlusion@size=0", "occlusion: size is 0.0; give a number from 0.01 to 1.0 of the image's side"),
        ("occlusion@size=2", "size is 2.0"),
        ("occlusion@stride=0.2", "stride is 0.2; give a number from 0.005 to 0.125"),
        ("occlusion@stride=0", "stride is 0.0"),
        ("occlusion@fill=black", "fill is 'black'"),
        ("multiscale@sizes=1,2", "multiscale: sizes is '1,2'; give factors such as 1.2.3"),
        ("multiscale@sizes=1+100", "one of sizes is 100.0; give a number from 0.25 to 8.0 times"),
        ("multiscale@sizes=1+1.0", "give each factor once"),
        ("multiscale@join=max", "join is 'max'"),
        ("sharp@offset=-0.1", "sharp: offset is -0.1; give a number from 0.0 to 1.0"),
        ("sharp@offset=nan", "offset is 'nan'; it must be a finite number"),
        ("sharpest@copies=0", "sharpest: copies is 0; give a whole number from 1 to 10000"),
        ("sharpest@noise=-1", "sharpest: noise is -1.0"),
        ("sharpest@steps=0", "sharpest: steps is 0"),
        ("sharpest@offset=2", "sharpest: offset is 2.0"),
        ("sharpest@smooth=1", "sharpest: smooth is 1.0"),
        ("sharpest@seed=-1", "sharpest: seed is -1"),
        ("lrp@smooth=0.7", "lrp: smooth is 0.7"),
    ],
)
def test_parameters_out_of_range_are_refused_before_anything_is_run(spec: str, why: str) -> None:
    net = Probed(build(PooledNet))
    model = model_of(PooledNet, net, "inner.")
    net.batches.clear()
    with pytest.raises(FinercamError, match=why):
        gather(model, photos(), [PLAIN], method=spec)
    assert sum(net.batches) <= 3  # the look itself, and which layers are fine (on noise)


@pytest.mark.parametrize("name", [name for name in SPECS if name != "lrp"])
def test_a_class_ruled_out_is_no_obstacle(name: str) -> None:
    class Ruled(PooledNet):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            ruled = torch.zeros(CLASSES, dtype=torch.bool)
            ruled[3] = True
            return logits.masked_fill(ruled, -torch.inf)

    model = Classifier.of(build(Ruled), "stem", image_size=SIZE)
    found = maps_of(model, photos(), SPECS[name], Contrast([4, 0]))
    assert bool(found.isfinite().all())
    assert_same(found, maps_of(classifier("pooled"), photos(), SPECS[name], Contrast([4, 0])))
