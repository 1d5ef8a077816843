"""Maps in every precision, what is refused, and how much memory they leave behind."""

from __future__ import annotations

import gc
import resource
import sys
import weakref
from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from finercam import (
    PLAIN,
    Classifier,
    Contrast,
    FinercamError,
    Run,
    answer,
    explain,
    gather,
    saliency,
)
from finercam.methods.gradients import GradientEvidence
from finercam.models.checks import refuse_probabilities
from support.evidence import ALL, KINDS, assert_same, maps
from support.models import (
    CLASSES,
    NETS,
    SIZE,
    DeepNet,
    PooledNet,
    build,
    classifier,
    photos,
)

# --- precision ---------------------------------------------------------------------------------------------------


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Cells that differ by less than a thousandth of the peak share a rank: their order is rounding already."""

    def ranks(values: Tensor) -> Tensor:
        flat, near = values.flatten(), 1e-3 * values.abs().max()
        ordered = flat.sort().values
        return (
            torch.searchsorted(ordered, flat - near) + torch.searchsorted(ordered, flat + near, right=True)
        ).double()

    return float(torch.corrcoef(torch.stack([ranks(one), ranks(other)]))[0, 1])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("name", NETS)
def test_autocast_stays_near_float32(name: str, method: str, precision: str) -> None:
    model = classifier(name, torch.float32)
    images = photos(dtype=torch.float32)
    contrast = Contrast([1, 4])
    evidence, (question,) = gather(model, images, [contrast], [0, 3], method=method)
    exact = answer(evidence, question).maps
    evidence, (question,) = gather(model, images, [contrast], [0, 3], method=method, run=Run(precision=precision))
    found = answer(evidence, question)
    assert found.maps.dtype == found.saliency.dtype == evidence.logits.dtype == torch.float32
    if isinstance(evidence, GradientEvidence):
        # (A LayerNorm's output is float32 under autocast.)
        assert evidence.activations[0].dtype == (torch.float32 if name == "vit" else getattr(torch, precision))
        assert all(gradient.dtype == torch.float32 for gradient in evidence.gradient(question.rows))
    else:
        assert evidence.table.dtype == torch.float32
    assert not torch.equal(found.maps, exact)
    if (name, method) == ("vit", "xgradcam"):
        return  # XGrad-CAM divides by sums of signed activations here; near zero they do not survive rounding
    for one, other in zip(found.maps, exact, strict=True):
        assert rank_correlation(one, other) > (0.98 if precision == "float16" else 0.9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NETS)
def test_models_in_half_precision(name: str, dtype: torch.dtype) -> None:
    model = Classifier.of(build(NETS[name], dtype=dtype), NETS[name].layer, image_size=SIZE)
    evidence, (question,) = gather(model, photos(), [Contrast([1, 4])], [0, 3])
    found = answer(evidence, question).maps
    assert found.dtype == evidence.logits.dtype == torch.float32
    gather_exact, (question,) = gather(classifier(name), photos(), [Contrast([1, 4])], [0, 3])
    assert_same(found.double(), answer(gather_exact, question).maps, 0.1 if dtype == torch.bfloat16 else 0.02)


def test_small_gradients_survive_float16() -> None:
    net = build(DeepNet, dtype=torch.float32)
    with torch.no_grad():
        net.head.weight *= 8e-6
        net.head.bias.copy_(torch.linspace(-1, 1, CLASSES))
    model = Classifier.of(net, "stem", image_size=(96, 96))
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    exact, (question,) = gather(model, images, [PLAIN], 0)
    half, _ = gather(model, images, [PLAIN], 0, run=Run(precision="float16"))
    gradient = exact.gradient(question.rows)[0]
    assert float(gradient.abs().max()) < 6e-8  # the smallest number of float16
    assert rank_correlation(gradient, half.gradient(question.rows)[0]) > 0.95


def test_a_closed_form_whose_map_is_wide_and_whose_head_is_narrow() -> None:
    class Wide(PooledNet):
        """As a LayerNorm before the pooling is under autocast on an accelerator: float32, then a narrow head."""

        def __init__(self) -> None:
            super().__init__()
            self.widen = nn.Identity()
            self.widen.register_forward_hook(lambda module, args, output: output.float())

        def forward(self, images: Tensor) -> Tensor:
            return self.tail(self.widen(self.stem(images)))

    model = Classifier.of(build(Wide, dtype=torch.float32), "widen", image_size=SIZE)
    images = photos(dtype=torch.float32)
    for method in ("gradcam", "ablationcam"):
        evidence, (question,) = gather(model, images, [PLAIN], method=method, run=Run(precision="bfloat16"))
        assert_same(answer(evidence, question).maps, maps_plain(model, images, method), 0.1)


def maps_plain(model: Classifier, images: Tensor, method: str) -> Tensor:
    evidence, (question,) = gather(model, images, [PLAIN], method=method)
    return answer(evidence, question).maps


def test_unknown_precision() -> None:
    with pytest.raises(FinercamError, match=r"precision is 'bf16'; (did you mean 'bfloat16'|choose)"):
        saliency(classifier("deep"), photos(), run=Run(precision="bf16"))


# --- refusals ----------------------------------------------------------------------------------------------------


class After(nn.Module):
    """A net with something done to its logits."""

    def __init__(self, function: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.inner = build(DeepNet, dtype=dtype)
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(self.inner(images))


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_probabilities_are_refused(dtype: torch.dtype, method: str) -> None:
    model = Classifier.of(After(lambda y: y.double().softmax(1).to(dtype), dtype), "inner.stem", image_size=SIZE)
    with pytest.raises(FinercamError, match=r"returns probabilities .* remove the final softmax, or give read="):
        saliency(model, photos(), method=method)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("classes", [2, 1000])
def test_probabilities_are_known_in_every_precision_and_sharpness(classes: int, dtype: torch.dtype) -> None:
    logits = torch.randn(40, classes, generator=torch.Generator().manual_seed(0))
    for sharpness in (0.1, 1, 10):
        for row in (sharpness * logits).to(dtype).softmax(1).split(1):
            with pytest.raises(FinercamError, match="returns probabilities"):
                refuse_probabilities(row)


@pytest.mark.parametrize("method", KINDS)
def test_a_batch_without_images_is_refused(method: str) -> None:
    with pytest.raises(FinercamError, match="there are no images in the batch"):
        saliency(classifier("deep"), photos()[:0], method=method)


def test_logits_that_look_a_little_like_probabilities_are_not_refused() -> None:
    for function in (
        lambda y: 0.01 * y.detach() + 0.0 * y + 0.1,  # positive, of some other sum
        lambda y: y.softmax(1) * 1.0005,
        lambda y: torch.cat([y.softmax(1) + 1, -y.sum(1, keepdim=True) * 0 - CLASSES], 1),
    ):
        net = After(function)
        saliency(Classifier.of(net, "inner.stem", image_size=SIZE), photos(), 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", KINDS)
def test_logits_that_are_not_numbers_are_refused(bad: float, method: str) -> None:
    model = Classifier.of(
        After(lambda y: torch.where(torch.arange(len(y))[:, None] == 1, bad, y) if len(y) == 2 else y),
        "inner.stem",
        image_size=SIZE,
    )
    with pytest.raises(FinercamError, match=r"logits for image 1 are not numbers \(NaN or infinite\)$"):
        saliency(model, photos(), method=method)
    with pytest.raises(FinercamError, match=r"bfloat16 may be too coarse for this model, try float32"):
        saliency(model, photos(), method=method, run=Run(precision="bfloat16"))


def test_a_class_ruled_out_is_no_obstacle() -> None:
    closed = torch.tensor([0.0, 0, -float("inf"), 0, 0, 0, 0])
    model = Classifier.of(After(lambda y: y + closed), "inner.stem", image_size=SIZE)
    for method in ALL:
        found = maps(model, photos(), method)
        assert bool(found.isfinite().all())
        assert float(found.abs().max()) > 0


def test_a_gradient_that_is_not_finite_is_refused() -> None:
    model = Classifier.of(After(lambda y: y * (y - y).sum(1, keepdim=True).sqrt()), "inner.stem", image_size=SIZE)
    with pytest.raises(FinercamError, match="the gradient at the target layer is not finite: an operation behind"):
        saliency(model, photos(), 0)


def test_a_forward_without_gradients_is_explained_by_scores_only() -> None:
    class Shut(DeepNet):
        @torch.no_grad()
        def forward(self, images: Tensor) -> Tensor:
            maps = self.stem(images)
            with torch.no_grad():
                maps = self.more(maps)
            return self.head(self.norm(maps.mean((2, 3)))).detach()

    model = Classifier.of(build(Shut), "stem", image_size=SIZE)
    with pytest.raises(FinercamError, match=r"the logits do not depend on the target layer .* forward turn gradients"):
        saliency(model, photos())
    for method in ("scorecam", "ablationcam"):
        assert torch.equal(maps(model, photos(), method), maps(classifier("deep"), photos(), method))


# --- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", KINDS)
def test_nothing_outlives_its_evidence(method: str) -> None:
    model = classifier("deep")
    gc.collect()
    gc.disable()  # what only the collector frees would pile up on an accelerator
    try:
        evidence, (question,) = gather(model, photos(), [Contrast()], method=method, collect=())
        found = answer(evidence, question)
        kept = [getattr(evidence, field.name) for field in fields(evidence)]
        tensors = [
            t for value in kept for t in (value if isinstance(value, tuple) else [value]) if isinstance(t, Tensor)
        ]
        assert len(tensors) > 2
        assert not any(tensor.requires_grad for tensor in tensors)  # nor the graph behind it
        held = [weakref.ref(t) for t in (*tensors, found.maps, found.saliency, question.rows)]
        del evidence, found, question, kept, tensors
        assert [ref() for ref in held] == [None] * len(held)
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("method", KINDS)
def test_a_thousand_explanations_do_not_grow_memory(method: str) -> None:
    net = build(DeepNet, dtype=torch.float32)
    model = Classifier.of(net, "stem", image_size=(96, 96))
    image = torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(0))

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(o), Tensor) for o in gc.get_objects())

    for _ in range(100):
        explain(model, image, method=method)
    before, peak = tensors(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):
        explain(model, image, keep=True, method=method).again(gamma=1.0)
    assert tensors() <= before
    # One map of the target layer, kept each time, would be 45 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 10_000 * (1 if sys.platform == "linux" else 1024)
